"""Pictures as inline SVG, made on the server: no script draws, every number is text as well. Pure.

Colours are the style sheet's, by class, so that they follow light and dark; curves over two axes are drawn by
:mod:`trainyard.card.svg`, as in a version's card.
"""
