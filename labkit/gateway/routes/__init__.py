"""The addresses of the HTTP side, one file for each group.

A route reads its request, calls the ``Gateway`` in a thread where that may wait, and shapes the answer.
"""
