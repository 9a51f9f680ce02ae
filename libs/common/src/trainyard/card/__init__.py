"""The model card of a version, made from its report: Markdown, or one HTML page (docs/model-cards.md)."""

from trainyard.card.html import POLICY, as_html
from trainyard.card.markdown import as_markdown
from trainyard.card.sections import card_of

__all__ = ["POLICY", "as_html", "as_markdown", "card_of"]
