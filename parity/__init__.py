"""The library beside independent implementations, on the same weights and inputs: `python -m parity`.

Every check sets both sides to equal weights, gives them equal inputs, and measures the largest absolute difference of
what they compute, forward and backward. Nothing is downloaded, and nothing needs a trained model.
"""
