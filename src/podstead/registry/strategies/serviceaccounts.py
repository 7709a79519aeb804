"""Service accounts: a delete answers with the object."""

from __future__ import annotations

from typing import ClassVar

from podstead.registry.strategies.base import Strategy


class ServiceAccountStrategy(Strategy):
    """Nothing else differs."""

    returns_deleted: ClassVar[bool] = True
