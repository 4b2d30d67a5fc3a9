"""A real notebook: its own function and class are measured, a bar is shown, the outcome is a table."""

import pytest

pytestmark = pytest.mark.slow

CELLS = [
    """
import bench
from bench.restorer import Restorer
import numpy as np

def faded(image, sigma, factor=0.9):
    return factor * image

class Mine(Restorer):
    name, tasks = "mine", {"denoise"}

    def __init__(self, factor=0.5):
        self.factor = factor

    def restore(self, seen):
        return np.float32(self.factor) * seen.image
""",
    'words = {"datasets": "photos", "sigma": 25, "store": "s.sqlite"}',
    'bench.run([faded, Mine, Mine(0.25), lambda image: image, "noisy"], **words)',
    'bench.run([faded, Mine, Mine(0.25), "noisy"], **words).n_measured',
    "def faded(image, sigma, factor=0.9):\n    return factor * image + 0.01",
    'bench.run([faded, Mine, Mine(0.25), "noisy"], **words, progress=False).n_measured',
    'bench.run(methd="noisy")',
]


@pytest.fixture
def notebook(photos, tmp_path):
    """The cells' outputs, run by a kernel in the folder of `photos`."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client = nbclient.NotebookClient(
        made, timeout=300, kernel_name="python3", allow_errors=True, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    return [cell.outputs for cell in made.cells]


@pytest.mark.filterwarnings("ignore")  # of the client's libraries
def test_what_lives_in_a_notebook_is_measured_and_shown(notebook):
    _, _, measured, again, _, edited, wrong = notebook
    bar, outcome = measured
    assert bar.data["text/plain"].startswith("15 of 15 cells measured in ")
    table = outcome.data["text/html"]
    for label in ("faded", "mine", "mine(factor=0.25)", "lambda", "noisy"):
        assert label in table
    assert "it is a lambda, or uses one" in table
    assert "failed" not in table
    assert outcome.data["text/plain"].startswith("Gaussian denoising: PSNR in dB")
    assert [output.data["text/plain"] for output in again] == ["0"]
    assert [output.data["text/plain"] for output in edited] == ["3"]
    assert "Did you mean 'methods'" in wrong[0].evalue
