//! Erasing a customer: what says who they are goes from the state of everything, what the books need stays.
//!
//! Depends on the rooms below.

use std::time::Duration;

use secrecy::SecretString;

use super::{Error, Shop, access};
use crate::{
    actors::{erasure::Finished, follower::CaughtUp, lists::OrdersOf, reply::NotDelivered},
    domain::{
        account::{Command, View},
        ids::{AccountId, OrderId, UserId},
    },
    identity::{Principal, TokenError, passwords::Verdict},
};

/// How many unfinished orders a refusal names: enough to see what is to be done first.
const NAMED_MAX: usize = 20;
/// How many orders are looked at at once.
const PAGE: usize = 100;

impl Shop {
    /// Erases the caller, who confirms it with their password. All their tokens are dead at once.
    ///
    /// # Errors
    /// [`Error::WrongCredentials`], [`Error::OrdersUnfinished`], the account's rejection for sellers and admins.
    pub async fn erase_account(&self, who: &Principal, password: SecretString) -> Result<Finished, Error> {
        let holder = self
            .0
            .runtime
            .entities
            .accounts
            .read(&who.account)
            .await?
            .view
            .holder
            .filter(|holder| holder.user == who.user);
        let holder = holder.ok_or(Error::Token(TokenError::Revoked))?;
        if self.0.identity.passwords().verify(password, Some(&holder.password_hash)).await? == Verdict::Wrong {
            return Err(Error::WrongCredentials);
        }
        self.erase(who.account, Some(holder.user), who.user).await
    }

    /// Erases the customer with this e-mail address, for admins. A repeat goes on with what is not finished.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for others, [`Error::NotFound`] where nobody ever had the address, else as
    /// [`Shop::erase_account`].
    pub async fn erase_customer(&self, who: &Principal, email: &str) -> Result<Finished, Error> {
        access::administer(who)?;
        let account = self.0.identity.account_of(email)?;
        match self.0.runtime.entities.accounts.read(&account).await?.view {
            View { holder: None, former: None } => Err(Error::NotFound("customer")),
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
        // A task: whoever stops waiting for the answer does not leave tokens alive.
        let shop = self.clone();
        let begun = tokio::spawn(async move { shop.revoking(account, Command::BeginErasure { by }).await });
        begun.await.map_err(Error::fault)??;
        let limit = Duration::from_millis(self.config().limits.payment_wait_ms_max);
        let finished = tokio::time::timeout(limit, self.0.runtime.erasure.finish(account)).await;
        Ok(finished.unwrap_or(Finished::No))
    }

    /// The latest of a customer's orders that are still on their way.
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
