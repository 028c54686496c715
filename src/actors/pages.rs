//! Reads a list page by page, each page on a blocking thread.
//!
//! May depend on `domain`.

use super::{
    lists::{Listed, Lists, PageError},
    task_error::TaskError,
};
use crate::domain::cursor::Cursor;

/// Reads the page of a list after a cursor.
pub(super) trait ReadPage<T>:
    Fn(&Lists, Option<&Cursor>) -> Result<Listed<T>, PageError> + Clone + Send + 'static
{
}

impl<T, F: Fn(&Lists, Option<&Cursor>) -> Result<Listed<T>, PageError> + Clone + Send + 'static> ReadPage<T> for F {}

/// The pages of one list, from the first to the last.
pub(super) struct Pages<F> {
    lists: Lists,
    read: F,
    after: Option<Cursor>,
    ended: bool,
}

impl<T, F> Pages<F>
where
    T: Send + 'static,
    F: Fn(&Lists, Option<&Cursor>) -> Result<Listed<T>, PageError> + Clone + Send + 'static,
{
    /// `read` gets the lists and the cursor of the page before.
    pub(super) fn new(lists: &Lists, read: F) -> Self {
        Self { lists: lists.clone(), read, after: None, ended: false }
    }

    /// The next page; `None` after the last one. After an error the same page is read again.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<T>>, TaskError> {
        if self.ended {
            return Ok(None);
        }
        let (lists, read, after) = (self.lists.clone(), self.read.clone(), self.after.clone());
        let page = tokio::task::spawn_blocking(move || read(&lists, after.as_ref())).await;
        let page = page.map_err(TaskError::retry)??;
        self.ended = page.next.is_none();
        self.after = page.next;
        Ok(Some(page.items))
    }
}
