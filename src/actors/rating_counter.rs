//! Counts ratings: a process manager that adds the rating of every written review to its product's sum.
//!
//! A review is a stream of its own, and its text is durable first. A list holds it until its product has counted the
//! rating, so a pass at start and every minute finishes what a crash left uncounted. The product is sent the review's
//! version, so that a late or repeated command changes nothing. Only an erased customer's rating leaves no version
//! behind, so an erasure and the count of a rating wait for each other.
//!
//! May depend on `domain`.

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::{
    directory::Directory,
    erasure::Erasure,
    follower::Progress,
    lists::Lists,
    pages::Pages,
    passes::{PAGE, WAIT_MAX, catch_up, pass_later},
    task_error::{TaskError, retry_if_rejected},
};
use crate::domain::{
    ratings::{self, Ratings},
    review::{self, Review, ReviewId},
};

/// The process manager; it works when the root has started its actor.
#[derive(Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub struct RatingCounter {
    pub reviews: Directory<Review>,
    pub ratings: Directory<Ratings>,
    pub lists: Lists,
    pub progress: Progress,
    /// Whose gate is held while a rating is counted.
    pub erasure: Erasure,
}

/// The only message: make a pass.
pub(super) struct CountRatings;

pub(super) struct RatingCounterActor(pub(super) RatingCounter);

impl Actor for RatingCounterActor {
    type Msg = CountRatings;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<CountRatings>, (): ()) -> Result<(), ActorProcessingErr> {
        myself.send_message(CountRatings)?;
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<CountRatings>,
        _: CountRatings,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if let Err(TaskError::Retry(problem)) = self.0.pass().await {
            tracing::warn!(problem, "ratings are left to the next pass");
        }
        pass_later(&myself, || CountRatings);
        Ok(())
    }
}

impl RatingCounter {
    async fn pass(&self) -> Result<(), TaskError> {
        catch_up(&self.progress).await?;
        let mut uncounted = Pages::new(&self.lists, |lists, after| lists.uncounted_reviews(after, PAGE));
        while let Some(page) = uncounted.next().await? {
            for id in page {
                if let Err(TaskError::Retry(problem)) = self.count(&id).await {
                    tracing::warn!(%id, problem, "the rating of a review is not counted yet");
                }
            }
        }
        Ok(())
    }

    /// Counts the rating of one review.
    pub(super) async fn count(&self, id: &ReviewId) -> Result<(), TaskError> {
        let _under_way = self.erasure.review_under_way().await;
        let view = self.reviews.read(id).await?.view;
        self.rate(id, &view).await.map(drop)
    }

    /// Counts the rating of a review that was just written, while the caller holds [`Erasure::review_under_way`]. The
    /// review is durable, so if its rating cannot be counted now, a later pass does it.
    ///
    /// # Errors
    /// The product has no room for another rating, and the review is withdrawn.
    pub async fn count_now(&self, id: &ReviewId, view: &review::View) -> Result<(), ratings::Rejection> {
        match self.rate(id, view).await {
            Ok(counted) => counted,
            Err(TaskError::Closing) => Ok(()),
            Err(TaskError::Retry(problem)) => {
                tracing::warn!(%id, problem, "the rating of a review is not counted yet");
                Ok(())
            }
        }
    }

    /// Adds the rating of a review to its product's sum. A review that its product has no room for is withdrawn.
    async fn rate(&self, id: &ReviewId, view: &review::View) -> Result<Result<(), ratings::Rejection>, TaskError> {
        let Some(written) = &view.written else { return Ok(Ok(())) };
        let (customer, rating, version) = (id.customer, written.content.rating, view.version);
        let rate = ratings::Command::Rate { customer, rating, version };
        let counted = self.ratings.ask_within(WAIT_MAX, &id.product, rate).await?.map(drop);
        if let Err(ratings::Rejection::TooMany) = counted {
            retry_if_rejected(self.reviews.ask_within(WAIT_MAX, id, review::Command::Erase).await?)?;
        }
        Ok(counted)
    }
}
