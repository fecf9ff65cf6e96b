"""RT-1 style policies: FiLM-conditioned image tokens, TokenLearner, a transformer, one token per action dimension."""
