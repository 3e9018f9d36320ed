"""Every driver, explicitly: a test compares this list with the folder."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from drivers import hotmart, kiwify, shopify
from drivers.base import Driver

DRIVERS: tuple[Driver, ...] = (hotmart.DRIVER, kiwify.DRIVER, shopify.DRIVER)

BY_SLUG: Mapping[str, Driver] = MappingProxyType({driver.slug: driver for driver in DRIVERS})
BY_ID: Mapping[str, Driver] = MappingProxyType({driver.id: driver for driver in DRIVERS})
