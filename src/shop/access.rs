//! Authorisation: every decision that depends on a role or on ownership, one rule per function.
//!
//! An order that is somebody else's is "not found". That holds for whoever may not see it, and for whoever did not
//! place it and tries to pay it or to return its goods. Who may see an order, but neither cancel nor fulfil it, is
//! "forbidden", as is who may see a product, but not change it.
//!
//! Depends on the rooms below.

use std::sync::Arc;

use super::{Allowed, Error, Missing, Principal};
use crate::{
    domain::{
        account::{Holder, Role, Standing},
        ids::SellerId,
        order::{Order, Placement},
        product::Editor,
    },
    identity::TokenError,
};

/// Operators' work is for admins.
pub(super) fn administer(who: &Principal) -> Result<(), Error> {
    match who.role {
        Role::Admin => Ok(()),
        Role::Seller | Role::Customer => Err(Error::Forbidden(Allowed::Admins)),
    }
}

/// Customers and sellers register themselves; admins are created by the operator, with the program.
pub(super) fn register_as(role: Role) -> Result<(), Error> {
    match role {
        Role::Customer | Role::Seller => Ok(()),
        Role::Admin => Err(Error::Forbidden(Allowed::Operator)),
    }
}

/// The caller still holds the account: it was not erased, nor registered again by somebody else.
pub(super) fn hold_account(who: &Principal, holder: Option<Arc<Holder>>) -> Result<Arc<Holder>, Error> {
    holder.filter(|holder| holder.user == who.user).ok_or(Error::Token(TokenError::Revoked))
}

/// A cart is for its owner.
pub(super) fn use_cart(who: &Principal, owner: &str) -> Result<(), Error> {
    if owner == who.user.to_string() { Ok(()) } else { Err(Error::Forbidden(Allowed::OwnerOfCart)) }
}

/// The seller for whom an account acts.
pub(super) fn acts_for(who: &Principal) -> SellerId {
    SellerId::of(who.user)
}

/// A seller is named by the account that acts for it, and by admins.
pub(super) fn name_seller(who: &Principal, seller: SellerId) -> Result<(), Error> {
    let may_edit = edit_products(who)?.may_edit(seller);
    if may_edit { Ok(()) } else { Err(Error::Forbidden(Allowed::SellerItself)) }
}

/// Sellers edit their own products, admins all. The product itself checks whose it is.
pub(super) fn edit_products(who: &Principal) -> Result<Editor, Error> {
    match who.role {
        Role::Seller => Ok(Editor::Seller(acts_for(who))),
        Role::Admin => Ok(Editor::Admin(acts_for(who))),
        Role::Customer => Err(Error::Forbidden(Allowed::Sellers)),
    }
}

/// A seller of whom an admin decides sells nothing before it is approved, nor after it is refused: neither products nor
/// stock come into the shop. What was ordered is still sent.
pub(super) fn sell(who: &Principal, standing: Standing) -> Result<(), Error> {
    match who.role {
        Role::Seller if !standing.may_sell() => Err(Error::SellerNotApproved { standing }),
        Role::Seller | Role::Admin | Role::Customer => Ok(()),
    }
}

/// The operator of a load run sends parcels and changes prices, so it is a seller or an admin.
#[cfg(feature = "cli")]
pub(super) fn operate_load_run(role: Role) -> Result<(), Error> {
    match role {
        Role::Seller | Role::Admin => Ok(()),
        Role::Customer => Err(Error::Forbidden(Allowed::Sellers)),
    }
}

/// Nobody reviews what they sell. Admins answer for all products, so they review none; whether the account that sells a
/// product has the role of a seller does not matter, because an import may name any account.
pub(super) fn review_product(who: &Principal, seller: SellerId) -> Result<(), Error> {
    let is_own = acts_for(who) == seller || who.role == Role::Admin;
    if is_own { Err(Error::OwnProduct) } else { Ok(()) }
}

/// A product's stock is for its seller and admins.
pub(super) fn manage_stock(who: &Principal, seller: SellerId) -> Result<(), Error> {
    let may_edit = edit_products(who)?.may_edit(seller);
    if may_edit { Ok(()) } else { Err(Error::Forbidden(Allowed::SellerOfProduct)) }
}

/// A product that is not listed is visible to its seller and admins.
pub(super) fn see_delisted(who: Option<&Principal>, seller: SellerId) -> Result<(), Error> {
    let may_edit = who.and_then(|who| edit_products(who).ok()).is_some_and(|editor| editor.may_edit(seller));
    if may_edit { Ok(()) } else { Err(Error::NotFound(Missing::Product)) }
}

/// The list of orders with one's own products is for sellers and admins.
pub(super) fn see_sold_orders(who: &Principal) -> Result<(), Error> {
    edit_products(who).map(drop)
}

/// An order is visible to its customer, the sellers of its lines, and admins.
pub(super) fn see_order(who: &Principal, order: &Order) -> Result<(), Error> {
    let placement = placement(order)?;
    let may_see = match who.role {
        Role::Admin => true,
        Role::Seller => {
            placement.customer == who.user || placement.lines.iter().any(|line| line.seller == acts_for(who))
        }
        Role::Customer => placement.customer == who.user,
    };
    if may_see { Ok(()) } else { Err(Error::NotFound(Missing::Order)) }
}

/// Paying an order and returning goods of it is for its customer.
pub(super) fn own_order(who: &Principal, order: &Order) -> Result<(), Error> {
    if placement(order)?.customer == who.user { Ok(()) } else { Err(Error::NotFound(Missing::Order)) }
}

/// Cancelling an order is for its customer and admins.
pub(super) fn cancel_order(who: &Principal, order: &Order) -> Result<(), Error> {
    let is_customer = placement(order)?.customer == who.user;
    if is_customer || who.role == Role::Admin { Ok(()) } else { Err(Error::Forbidden(Allowed::CustomerOfOrder)) }
}

/// Packing, shipping, delivering, capturing, refunding and deciding returns is for the seller of all lines, and for
/// admins.
pub(super) fn fulfil_order(who: &Principal, order: &Order) -> Result<(), Error> {
    match who.role {
        Role::Admin => Ok(()),
        Role::Seller if order.is_sold_only_by(acts_for(who)) => Ok(()),
        Role::Seller | Role::Customer => Err(Error::Forbidden(Allowed::SellerOfAllLines)),
    }
}

fn placement(order: &Order) -> Result<&Placement, Error> {
    order.placement().map(AsRef::as_ref).ok_or(Error::NotFound(Missing::Order))
}
