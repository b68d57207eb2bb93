"""How the bundled model is made: data, train, export, quantize, evaluate, card.

Needs the ``recipe`` extra (torch, transformers, optimum). Nothing outside this package imports it.
"""
