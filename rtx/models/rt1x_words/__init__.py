"""RT-1-X with a text encoder of its own, trained with the policy: no Universal Sentence Encoder at inference.

pieces of words --encoder.py--> sentence vector --FiLM--> rtx.models.rt1x, unchanged
"""
