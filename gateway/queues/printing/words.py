"""What a page says in the language of its document, and how amounts and dates are written there."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

_SPACE: Final = "\u00a0"
_KEYS: Final = (
    "number", "date", "due", "party", "reference", "source", "vendor_document", "applies_to", "terms",
    "position", "description", "quantity", "unit", "price", "discount", "tax", "amount",
    "carried", "brought", "subtotal", "invoice_discount", "tax_row", "rounding", "total", "page", "copy",
    "tax_number", "vendor",
)  # fmt: skip
_TITLES: Final = (
    "PostedSalesShipment", "PostedSalesInvoice", "PostedReturnReceipt", "PostedSalesCreditMemo",
    "PostedPurchaseReceipt", "PostedPurchaseInvoice", "PostedReturnShipment", "PostedPurchaseCreditMemo",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Language:
    """Words by key, titles by document, and the forms of numbers and dates."""

    words: Mapping[str, str]
    titles: Mapping[str, str]
    thousands: str
    point: str
    day: str
    months: tuple[str, ...] = ()

    def amount(self, number: Decimal) -> str:
        """Write an amount with all the decimals it has."""
        return f"{number:,f}".translate({ord(","): self.thousands, ord("."): self.point})

    def plain(self, number: Decimal) -> str:
        """Write a quantity or a percent without zeros at its end."""
        text = f"{number:,f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return text.translate({ord(","): self.thousands, ord("."): self.point})

    def date(self, day: date) -> str:
        """Write a day."""
        month = self.months[day.month - 1] if self.months else ""
        return self.day.format(day=day.day, month=day.month, name=month, year=day.year)


def _language(titles: str, words: str, thousands: str, point: str, day: str, months: str = "") -> Language:
    return Language(
        dict(zip(_KEYS, words.split("|"), strict=True)), dict(zip(_TITLES, titles.split("|"), strict=True)), thousands,
        point, day, tuple(months.split()),
    )  # fmt: skip


LANGUAGES: Final[Mapping[str, Language]] = {
    "en": _language(
        "Delivery note|Invoice|Return receipt|Credit memo|Goods receipt|Purchase invoice|Return delivery note|"
        "Purchase credit memo",
        "No.|Date|Due date|Customer|Your reference|Our order|Your document|For invoice|Payment terms|"
        "Pos.|Description|Quantity|Unit|Price|Discount|Tax %|Amount|"
        "Carried forward|Brought forward|Subtotal|Invoice discount|Tax {percent} % of {base}|Rounding|Total {currency}|"
        "Page {page} of {pages}|COPY|Tax number|Vendor",
        ",", ".", "{day} {name} {year}",
        "January February March April May June July August September October November December",
    ),
    "de": _language(
        "Lieferschein|Rechnung|Rücknahmebeleg|Gutschrift|Wareneingang|Eingangsrechnung|Rücklieferschein|"
        "Eingangsgutschrift",
        "Nr.|Datum|Fällig am|Kunde|Ihr Zeichen|Unser Auftrag|Ihr Beleg|Zu Rechnung|Zahlungsbedingungen|"
        "Pos.|Beschreibung|Menge|Einheit|Preis|Rabatt|USt. %|Betrag|"
        "Übertrag|Übertrag|Zwischensumme|Rechnungsrabatt|USt. {percent} % von {base}|Rundung|Gesamt {currency}|"
        "Seite {page} von {pages}|KOPIE|USt-IdNr.|Lieferant",
        ".", ",", "{day:02}.{month:02}.{year}",
    ),
    "da": _language(
        "Følgeseddel|Faktura|Returmodtagelse|Kreditnota|Varemodtagelse|Købsfaktura|Returfølgeseddel|Købskreditnota",
        "Nr.|Dato|Forfaldsdato|Kunde|Deres reference|Vores ordre|Deres bilag|Til faktura|Betalingsbetingelser|"
        "Pos.|Beskrivelse|Antal|Enhed|Pris|Rabat|Moms %|Beløb|"
        "Transport|Transport|Subtotal|Fakturarabat|Moms {percent} % af {base}|Afrunding|I alt {currency}|"
        "Side {page} af {pages}|KOPI|Momsnr.|Leverandør",
        ".", ",", "{day:02}.{month:02}.{year}",
    ),
    "fr": _language(
        "Bon de livraison|Facture|Bon de retour|Avoir|Bon de réception|Facture fournisseur|"
        "Bon de retour fournisseur|Avoir fournisseur",
        "N°|Date|Échéance|Client|Votre référence|Notre commande|Votre document|Sur facture|Conditions de paiement|"
        "Pos.|Désignation|Quantité|Unité|Prix|Remise|TVA %|Montant|"
        "À reporter|Report|Sous-total|Remise sur facture|TVA {percent} % sur {base}|Arrondi|Total {currency}|"
        "Page {page} sur {pages}|COPIE|N° TVA|Fournisseur",
        _SPACE, ",", "{day:02}/{month:02}/{year}",
    ),
}  # fmt: skip


def language(code: str) -> Language:
    """Return the language of a code such as de or de-AT; English where there are no words for it."""
    return LANGUAGES.get(code.lower().split("-")[0], LANGUAGES["en"])
