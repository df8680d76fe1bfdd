"""The errors of this package.

ValueError
├── ValidationError   a value breaks a rule of its lexicon; names path and rule
└── LexiconError      a lexicon document itself is not usable
"""


class ValidationError(ValueError):
    """A value breaks a rule of its lexicon.

    `path` points at the fault (`fields[2].type.dtype`; empty for the value as a whole), `rule` is
    the lexicon keyword or project rule that was broken (`maxLength`, `required`, `semver`, …) and
    `message` says it in words. `str()` gives `path: message`.
    """

    def __init__(self, path: str, rule: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.rule = rule
        self.message = message

    def __reduce__(self) -> tuple[type["ValidationError"], tuple[str, str, str]]:
        return type(self), (self.path, self.rule, self.message)


class LexiconError(ValueError):
    """A lexicon document uses something the validator does not know, or refers to nothing."""
