//! Erases a customer: personal data is removed from the state of every entity, what accounting needs stays.
//!
//! Depends on the rooms below.

use std::time::Duration;

use secrecy::SecretString;

use super::{Error, Missing, Shop, access};
use crate::{
    actors::{erasure::Finished, follower::CaughtUp, lists::OrdersOf, reply::NotDelivered},
    domain::{
        account::{Command, View},
        ids::{AccountId, OrderId, UserId},
    },
    identity::{Principal, passwords::Verdict},
};

/// How many unfinished orders an error lists.
const NAMED_MAX: usize = 20;
/// How many orders are read at once.
const PAGE: usize = 100;

impl Shop {
    /// Erases the caller, who confirms it with the password. All of the caller's tokens are revoked at once.
    ///
    /// # Errors
    /// [`Error::WrongCredentials`], [`Error::OrdersUnfinished`], the account's rejection for sellers and admins.
    pub async fn erase_account(&self, who: &Principal, password: SecretString) -> Result<Finished, Error> {
        let holder = self.0.runtime.entities.accounts.read(&who.account).await?.view.holder;
        let holder = access::hold_account(who, holder)?;
        if self.0.identity.passwords().verify(None, password, Some(&holder.password_hash)).await? == Verdict::Wrong {
            return Err(Error::WrongCredentials);
        }
        self.erase(who.account, Some(holder.user), who.user).await
    }

    /// Erases the customer with this e-mail address, for admins. A repeat continues an unfinished erasure.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for others, [`Error::NotFound`] if no account ever had the address, otherwise as
    /// [`Shop::erase_account`].
    pub async fn erase_customer(&self, who: &Principal, email: &str) -> Result<Finished, Error> {
        access::administer(who)?;
        let account = self.0.identity.account_of(email)?;
        match self.0.runtime.entities.accounts.read(&account).await?.view {
            View { holder: None, former: None } => Err(Error::NotFound(Missing::Customer)),
            View { holder, .. } => self.erase(account, holder.map(|holder| holder.user), who.user).await,
        }
    }

    async fn erase(&self, account: AccountId, user: Option<UserId>, by: UserId) -> Result<Finished, Error> {
        if let Some(user) = user {
            let orders = self.unfinished_orders(user).await?;
            if !orders.is_empty() {
                return Err(Error::OrdersUnfinished { orders });
            }
        }
        self.revoking(account, Command::BeginErasure { by }).await?;
        let limit = Duration::from_millis(self.config().limits.payment_wait_ms_max);
        let finished = tokio::time::timeout(limit, self.0.runtime.erasure.finish(account)).await;
        Ok(finished.unwrap_or(Finished::No))
    }

    /// The latest unfinished orders of a customer.
    async fn unfinished_orders(&self, user: UserId) -> Result<Vec<OrderId>, Error> {
        let wait = Duration::from_millis(self.config().limits.list_wait_ms_max);
        if self.0.runtime.lists_progress.catch_up(wait).await == CaughtUp::No {
            return Err(Error::NotDelivered(NotDelivered::Busy));
        }
        let (mut unfinished, mut after) = (Vec::new(), None);
        loop {
            let page = self.list_orders(OrdersOf::Customer(user), after, PAGE).await?;
            let open = page.orders.iter().filter(|page| page.order.status().is_some_and(|status| !status.is_final()));
            unfinished.extend(open.map(|page| page.id));
            after = page.next;
            if after.is_none() || unfinished.len() >= NAMED_MAX {
                unfinished.truncate(NAMED_MAX);
                return Ok(unfinished);
            }
        }
    }
}
