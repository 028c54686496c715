//! Carts: what a customer wants to buy, with current prices.
//!
//! Depends on the rooms below.

use futures::future::{self, join_all};

use super::{Error, Missing, Shop, access};
use crate::{
    config::Config,
    domain::{
        cart::{self, Command, Line},
        charges::{Charges, Rates},
        idempotency::Fields,
        ids::ProductId,
        money::Money,
        product,
    },
    identity::Principal,
    payments::{AmountRefused, Gateway},
};

/// A customer's cart with current prices.
#[derive(Debug, Clone)]
pub struct CartPage {
    /// Grows with every change.
    pub version: u64,
    /// In the order in which they were first added.
    pub lines: Vec<CartLine>,
    /// The sum of the lines without a problem; `None` if there is none.
    pub subtotal: Option<Money>,
    /// The cost of a checkout of the whole cart, with shipping and tax: the `total_price` to state. `None` if the cart
    /// is empty or a line has a problem. There may still be too little stock: see [`CartLine::available`].
    pub total: Option<Money>,
    /// Why the payment provider would not take the total. An amount that is only too small is ordered, and then
    /// declined.
    pub amount_problem: Option<AmountRefused>,
}

/// Why a checkout of the whole cart would refuse a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineProblem {
    /// The product is no longer in the shop, or has no price.
    NotForSale,
    /// The product has variants now, so one of them must be chosen.
    ChooseVariant,
    /// Its currency differs from that of the earlier lines.
    OtherCurrency,
    /// With it, the total is larger than [`Money::AMOUNT_MAX`].
    TooLarge,
}

impl LineProblem {
    /// The name for clients.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotForSale => "not_for_sale",
            Self::ChooseVariant => "choose_variant",
            Self::OtherCurrency => "other_currency",
            Self::TooLarge => "too_large",
        }
    }
}

/// The amounts of a cart's lines so far.
struct Sum {
    subtotal: Option<Money>,
    total: Option<Money>,
}

/// A line of a cart.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone)]
pub struct CartLine {
    pub product: ProductId,
    /// The current title.
    pub title: String,
    /// The URL of a small picture.
    pub thumbnail_url: Option<String>,
    /// What that picture shows.
    pub thumbnail_alt: Option<String>,
    pub quantity: u32,
    /// The current price of one unit; `None` if it cannot be bought any more.
    pub unit_price: Option<Money>,
    /// Units available now.
    pub available: u64,
    /// Why a checkout would refuse the line, if it would.
    pub problem: Option<LineProblem>,
}

impl Shop {
    /// The caller's cart.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn cart(&self, who: &Principal) -> Result<CartPage, Error> {
        let view = self.0.runtime.entities.carts.read(&who.user).await?.view;
        self.cart_page(&view).await
    }

    /// Checks that a cart is the caller's, for a request that names the cart's owner.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn use_cart(&self, who: &Principal, owner: &str) -> Result<(), Error> {
        access::use_cart(who, owner)
    }

    /// Adds lines, all or none. With a key, a repeat adds nothing.
    ///
    /// # Errors
    /// The cart's rejection; [`Error::NotForSale`], [`Error::ChooseVariant`], [`Error::NotFound`] for a product.
    pub async fn add_to_cart(&self, who: &Principal, lines: Vec<Line>, key: Option<&str>) -> Result<CartPage, Error> {
        let mut currency = None;
        for price in join_all(lines.iter().map(|line| self.price_of(&line.product))).await {
            let price = price?;
            match currency {
                Some(left) if left != price.currency => {
                    return Err(Error::MixedCurrencies { left, right: price.currency });
                }
                Some(_) | None => currency = Some(price.currency),
            }
        }
        let currency = currency.ok_or(cart::Rejection::Empty)?;
        let shop = match key {
            Some(key) => self.once(who, "add", key, fields(&lines).as_bytes())?,
            None => self.clone(),
        };
        let add = Command::Add { lines, currency };
        let view = shop.ask_once(&self.0.runtime.entities.carts, &who.user, add).await?.view;
        self.cart_page(&view).await.map_err(Error::after_change)
    }

    /// Sets the quantity of a line, which need not exist.
    ///
    /// # Errors
    /// As [`Shop::add_to_cart`].
    pub async fn set_cart_line(&self, who: &Principal, line: Line) -> Result<CartPage, Error> {
        self.set_cart_line_if(who, line, None).await
    }

    /// The same, if the cart still has this version.
    ///
    /// # Errors
    /// As [`Shop::set_cart_line`]; [`cart::Rejection::Changed`].
    pub async fn set_cart_line_if(
        &self,
        who: &Principal,
        line: Line,
        if_version: Option<u64>,
    ) -> Result<CartPage, Error> {
        let currency = self.price_of(&line.product).await?.currency;
        let command = Command::SetQuantity { line, currency, if_version };
        let view = self.0.runtime.entities.carts.ask(&who.user, command).await?.view;
        self.cart_page(&view).await.map_err(Error::after_change)
    }

    /// Removes a line, which need not exist.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn remove_cart_line(&self, who: &Principal, product: &ProductId) -> Result<CartPage, Error> {
        self.remove_cart_line_if(who, product, None).await
    }

    /// The same, if the cart still has this version.
    ///
    /// # Errors
    /// As [`Shop::remove_cart_line`]; [`cart::Rejection::Changed`].
    pub async fn remove_cart_line_if(
        &self,
        who: &Principal,
        product: &ProductId,
        if_version: Option<u64>,
    ) -> Result<CartPage, Error> {
        let command = Command::Remove { product: product.clone(), if_version };
        let view = self.0.runtime.entities.carts.ask(&who.user, command).await?.view;
        self.cart_page(&view).await.map_err(Error::after_change)
    }

    /// A product that can be bought, with its price.
    pub(super) async fn for_sale(&self, id: &ProductId) -> Result<(product::View, Money), Error> {
        let view = self.0.runtime.entities.products.read(id).await?.view.filter(|view| view.listed);
        let view = view.ok_or(Error::NotFound(Missing::Product))?;
        if !view.details.variants.is_empty() {
            let variants = view.details.variants.iter().map(|variant| variant.product.clone()).collect();
            return Err(Error::ChooseVariant { product: id.clone(), variants });
        }
        let price = view.details.price.ok_or_else(|| Error::NotForSale { product: id.clone() })?;
        Ok((view, price))
    }

    async fn price_of(&self, id: &ProductId) -> Result<Money, Error> {
        Ok(self.for_sale(id).await?.1)
    }

    async fn cart_page(&self, view: &cart::View) -> Result<CartPage, Error> {
        let entities = &self.0.runtime.entities;
        let read = view
            .lines
            .iter()
            .map(|line| future::join(entities.products.read(&line.product), entities.inventories.read(&line.product)));
        let mut lines = Vec::with_capacity(view.lines.len());
        let mut sum = Sum { subtotal: None, total: None };
        for (line, (product, inventory)) in view.lines.iter().zip(join_all(read).await) {
            let (product, available) = (product?.view, inventory?.view.available);
            let details = product.as_ref().map(|product| &product.details);
            let listed = product.as_ref().filter(|product| product.listed);
            let unit_price = listed.and_then(|view| view.details.price);
            let has_variants = listed.is_some_and(|view| !view.details.variants.is_empty());
            let problem = match unit_price {
                _ if has_variants => Some(LineProblem::ChooseVariant),
                None => Some(LineProblem::NotForSale),
                Some(price) => self.add_up(&mut sum, price, line.quantity).err(),
            };
            lines.push(CartLine {
                product: line.product.clone(),
                title: details.map(|details| details.title.clone()).unwrap_or_default(),
                thumbnail_url: details.and_then(|details| Some(details.thumbnail.as_ref()?.url().to_owned())),
                thumbnail_alt: details.and_then(|details| details.thumbnail_alt().map(str::to_owned)),
                quantity: line.quantity,
                unit_price,
                available,
                problem,
            });
        }
        let total = sum.total.filter(|_| lines.iter().all(|line| line.problem.is_none()));
        let amount_problem = total.and_then(|total| self.0.gateway.check_amount(total).err());
        let total = total.filter(|_| amount_problem.is_none_or(AmountRefused::can_be_ordered));
        Ok(CartPage { version: view.version, lines, subtotal: sum.subtotal, total, amount_problem })
    }

    /// Adds a line, unless a checkout of it together with the earlier lines would be refused.
    fn add_up(&self, sum: &mut Sum, price: Money, quantity: u32) -> Result<(), LineProblem> {
        let before = sum.subtotal.unwrap_or(Money::zero(price.currency));
        if before.currency != price.currency {
            return Err(LineProblem::OtherCurrency);
        }
        let amounts = || {
            let subtotal = before.plus(price.times(quantity).ok()?).ok()?;
            let Charges { shipping, tax } = self.rates().charges(subtotal).ok()?;
            let total = subtotal.plus(shipping).ok()?.plus(tax).ok()?;
            Some(Sum { subtotal: Some(subtotal), total: Some(total) })
        };
        *sum = amounts().ok_or(LineProblem::TooLarge)?;
        Ok(())
    }

    /// The rates in this shop's configuration.
    pub(super) fn rates(&self) -> Rates {
        let Config { shipping_flat_minor, tax_basis_points, .. } = *self.config();
        Rates { shipping_flat_minor, tax_basis_points }
    }
}

/// What the fingerprint of a request to add these lines is made of.
fn fields(lines: &[Line]) -> Fields {
    let add = |fields: Fields, line: &Line| fields.with("product", &line.product).with("quantity", line.quantity);
    lines.iter().fold(Fields::default(), add)
}
