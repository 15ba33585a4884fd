"""A schema as rules of Postgres: jsonpath in strict mode, stored as rows."""

from catalogue.rules.translation import Rule, Rules, translate
from catalogue.rules.untranslatable import Untranslatable

__all__ = ["Rule", "Rules", "Untranslatable", "translate"]
