//! Sellers, and the decisions of admins whether they may sell.
//!
//! Depends on the rooms below.

use std::sync::Arc;

use super::{Error, Missing, Principal, Shop, access, accounts::AccountPage};
use crate::{
    actors::{
        lists::Listed,
        reply::{AskError, NotDelivered},
    },
    domain::{
        account::{Approval, Command, Rejection, Role, Standing},
        cursor::Cursor,
        ids::{SellerId, UserId},
    },
};

impl Shop {
    /// Lists the sellers who stand so, those who registered first before the others.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for others than admins; [`Error::InvalidCursor`], [`Error::InvalidLimit`].
    pub async fn applications(
        &self,
        who: &Principal,
        standing: Standing,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Listed<AccountPage>, Error> {
        access::administer(who)?;
        let listed = self.list_page(limit, move |lists| lists.sellers(standing, after.as_ref(), limit)).await?;
        let mut items = Vec::with_capacity(listed.items.len());
        for (account, user) in listed.items {
            let holder = self.0.runtime.entities.accounts.read(&account).await?.view.holder;
            // The list may be behind a decision, another role, or another holder of the address.
            let stands = holder.filter(|holder| {
                holder.user == user && holder.role == Role::Seller && holder.standing.listed() == standing.listed()
            });
            items.extend(stands.as_deref().map(AccountPage::from));
        }
        Ok(Listed { items, next: listed.next })
    }

    /// Approves or refuses a seller, with a note; a refusal needs one. The decision takes effect at once, and stays
    /// with the account. Any seller can be refused, also one whom nobody had to approve.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for others than admins; [`Error::NotFound`] if there is no such seller; the account's
    /// rejection.
    pub async fn decide_seller(
        &self,
        who: &Principal,
        seller: SellerId,
        approval: Approval,
        note: Option<&str>,
    ) -> Result<AccountPage, Error> {
        access::administer(who)?;
        // A seller has the number of its account's user.
        let user = UserId(seller.0);
        let account = self.read_lists(move |lists| lists.account_of_seller(user)).await?;
        let account = account.ok_or_else(|| match self.lists_are_whole() {
            true => Error::NotFound(Missing::Seller),
            // They are being rebuilt: who is not listed yet may be there all the same.
            false => NotDelivered::Busy.into(),
        })?;
        let decide = Command::DecideSeller { seller: user, approval, by: who.user, note: note.map(Arc::from) };
        let decided = self.ask_once(&self.0.runtime.entities.accounts, &account, decide).await;
        // The lists are behind: the account was erased, and may be somebody else's.
        let not_registered = || Error::NotFound(Missing::Seller);
        let view = decided
            .map_err(|error| match error {
                AskError::Rejected(Rejection::NotRegistered) => not_registered(),
                error => error.into(),
            })?
            .view;
        Ok(AccountPage::from(&*view.holder.ok_or_else(not_registered)?))
    }

    /// Refuses a seller who may not sell. The account is asked, because a decision does not end tokens.
    pub(super) async fn check_may_sell(&self, who: &Principal) -> Result<(), Error> {
        if who.role != Role::Seller {
            return Ok(());
        }
        let holder = self.0.runtime.entities.accounts.read(&who.account).await?.view.holder;
        access::sell(who, access::hold_account(who, holder)?.standing)
    }
}
