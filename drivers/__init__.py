"""Every driver, explicitly: a test compares this list with the folder."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from drivers import (
    appmax,
    assiny,
    bagy,
    bling,
    cakto,
    digital_manager_guru,
    eduzz,
    evolution,
    findmypack,
    hotmart,
    irroba,
    kiwify,
    monetizze,
    pagali,
    pagarme,
    shopify,
    stripe,
    ticto,
    troquecommerce,
    woocommerce,
)
from drivers.base import Driver

DRIVERS: tuple[Driver, ...] = (
    appmax.DRIVER,
    assiny.DRIVER,
    bagy.DRIVER,
    bling.DRIVER,
    cakto.DRIVER,
    digital_manager_guru.DRIVER,
    eduzz.DRIVER,
    evolution.DRIVER,
    findmypack.DRIVER,
    hotmart.DRIVER,
    irroba.DRIVER,
    kiwify.DRIVER,
    monetizze.DRIVER,
    pagali.DRIVER,
    pagarme.DRIVER,
    shopify.DRIVER,
    stripe.DRIVER,
    ticto.DRIVER,
    troquecommerce.DRIVER,
    woocommerce.DRIVER,
)

BY_SLUG: Mapping[str, Driver] = MappingProxyType({driver.slug: driver for driver in DRIVERS})
BY_ID: Mapping[str, Driver] = MappingProxyType({driver.id: driver for driver in DRIVERS})
