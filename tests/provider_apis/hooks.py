"""Webhooks registered at a provider: what the APIs that have them keep."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Hooks:
    """By id, in the words of their provider."""

    made: int = 0
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, **words: Any) -> dict[str, Any]:
        self.made += 1
        hook = {"id": 1000 + self.made, **words}
        self.kept[str(hook["id"])] = hook
        return hook

    def change(self, ident: str, **words: Any) -> dict[str, Any] | None:
        if ident in self.kept:
            self.kept[ident] |= words
        return self.kept.get(ident)

    def remove(self, ident: str) -> bool:
        return self.kept.pop(ident, None) is not None

    def values(self, name: str) -> list[Any]:
        return sorted(hook[name] for hook in self.kept.values())
