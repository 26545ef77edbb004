"""Labels where they count: which images of an unlabelled table to label, and a page to label them on.

`plan` draws the pool and orders its disagreements. `forecast` guesses what their labels will certify. `names`,
`pictures`, `page` and `label_list` make what a person fills in, `writing` writes the folder, and `second_pool` goes on
from there.
"""
