"""The scores that a gate can compare with its threshold."""

SCORES = ("confidence", "margin")
# Confidences are clipped to [LOGIT_CLIP, 1 - LOGIT_CLIP] before their logit is taken. The gate, which imports no
# package of ours, has the same number in littlebig_gate.py; a test compares the two.
LOGIT_CLIP = 1e-6
