"""DnCNN as its paper trains it, and with parts left out: the four networks of its Fig. 2.

Zhang, Zuo, Chen, Meng, Zhang, "Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image Denoising",
IEEE TIP 26(7), 2017, Sec. III-A and III-C.

| options                                  | in Fig. 2           |
|------------------------------------------|---------------------|
| `batch_norm = true`                      | with RL, with BN    |
|                                          | with RL, without BN |
| `batch_norm = true`, `residual = false`  | without RL, with BN |
| `residual = false`                       | without both        |

`depth` and `width` make the networks smaller or larger: so many convolutions, of so many channels between them.

Batch normalisation is merged into the convolutions when weights are exported: what is measured has the layers of
`dncnn`, whose weights those of a residual network are too.
"""

from __future__ import annotations

from bench.methods.dncnn import DnCNN, Residual, convolutions
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from bench.restorer import Setting

__all__ = ["Direct", "DnCNNFig2", "merged", "normalised"]


class DnCNNFig2(DnCNN):
    """DnCNN to be trained with and without batch normalisation and residual learning."""

    name = "dncnn-fig2"
    tasks = {"denoise", "denoise-blind", "deblock", "superres"}
    variants = ()
    needs_weights = True  # as DnCNN does, but the plan reads this file alone
    training_options = ("batch_norm",)

    def network(self, setting: Setting) -> nn.Module:  # type: ignore[override]  # or Direct
        body = super().network(setting).body
        sizes = {name: self.options[name] for name in ("depth", "width") if name in self.options}
        if sizes:
            body = convolutions(setting.channels, **{"depth": len(body) // 2 + 1, **sizes})
        if self.options.get("batch_norm", False):
            body = normalised(body)
        return Residual(body) if self._is_residual else Direct(body)

    def exported(self, network: nn.Module) -> nn.Module:
        if isinstance(network, Direct):
            return Direct(merged(network.mapping))
        return Residual(merged(network.body))

    def compile(self, network: nn.Module, setting: Setting) -> nn.Module:
        if self._is_residual:
            return super().compile(network, setting)
        return Direct(super().compile(Residual(network.mapping), setting).body)

    @property
    def _is_residual(self) -> bool:
        return bool(self.options.get("residual", True))


class Direct(nn.Module):
    """x = mapping(y): the original mapping, which residual learning is held against (paper, Sec. III-C).

    Its tensors have other names than those of `Residual`, whose answer with them would be nonsense.
    """

    def __init__(self, mapping: nn.Module) -> None:
        super().__init__()
        self.mapping = mapping

    def forward(self, y: Tensor) -> Tensor:
        x_hat: Tensor = self.mapping(y)
        return x_hat


def normalised(body: nn.Sequential) -> nn.Sequential:
    """Batch normalisation between convolution and ReLU in all layers but the first and the last (paper, Sec. III-A).

    The convolutions keep their names, so that merged weights can start a training.
    """
    layers = [*body]
    for i in range(3, len(layers), 2):
        layers[i] = nn.Sequential(nn.BatchNorm2d(layers[i - 1].out_channels), layers[i])
    return nn.Sequential(*layers)


def merged(body: nn.Sequential) -> nn.Sequential:
    """Convolutions and ReLU alone that answer as `body` does in evaluation mode."""
    layers: list[nn.Module] = []
    for layer in body:
        if isinstance(layer, nn.Sequential):
            (norm, relu), convolution = layer, layers[-1]
            assert isinstance(convolution, nn.Conv2d)
            layers[-1:] = [fuse_conv_bn_eval(convolution, norm), relu]
        else:
            layers.append(layer)
    return nn.Sequential(*layers)
