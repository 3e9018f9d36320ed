"""Every driver, explicitly: a test compares this list with the folder."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from drivers import (
    assiny,
    bagy,
    cakto,
    digital_manager_guru,
    eduzz,
    evolution,
    hotmart,
    kiwify,
    monetizze,
    pagarme,
    shopify,
    stripe,
    ticto,
    woocommerce,
)
from drivers.base import Driver

DRIVERS: tuple[Driver, ...] = (
    assiny.DRIVER,
    bagy.DRIVER,
    cakto.DRIVER,
    digital_manager_guru.DRIVER,
    eduzz.DRIVER,
    evolution.DRIVER,
    hotmart.DRIVER,
    kiwify.DRIVER,
    monetizze.DRIVER,
    pagarme.DRIVER,
    shopify.DRIVER,
    stripe.DRIVER,
    ticto.DRIVER,
    woocommerce.DRIVER,
)

BY_SLUG: Mapping[str, Driver] = MappingProxyType({driver.slug: driver for driver in DRIVERS})
BY_ID: Mapping[str, Driver] = MappingProxyType({driver.id: driver for driver in DRIVERS})
