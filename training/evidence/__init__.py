"""How good an adapter is: decoding, scores, significance, the model card."""
