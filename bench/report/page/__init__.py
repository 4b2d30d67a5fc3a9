"""The page: one HTML file of a store that asks nothing of anybody, to be sent around and opened from disk.

`contents` says what it shows, `pictures` which restored pictures go with it, `document` makes the file of them and of
what lies in `assets/`. All figures are computed here; the page's own program filters, sorts and draws them.
"""
