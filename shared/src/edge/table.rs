//! A DynamoDB table of ours: string keys `pk` and `sk`, rows as serde structs, strong reads, conditional writes. What a
//! store can do about a failure is in [`StoreError`].

use std::collections::HashMap;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::scan::builders::ScanFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::builders::{DeleteBuilder, PutBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};
use backon::{ExponentialBuilder, Retryable as _};
use futures_util::future::try_join_all;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::aws::Cause;

/// How many rows of a partition are deleted at once.
const FORGOTTEN_TOGETHER: usize = 50;

/// A row as DynamoDB has it.
pub type Item = HashMap<String, AttributeValue>;

/// What a caller of a store can decide on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A condition did not hold: somebody else was there first. Read again and decide anew.
    #[error("the row is not as it was read")]
    Conflict,
    /// The table is out of reach or throttled. Try again later.
    #[error("the table is out of reach")]
    Unavailable(#[source] Cause),
    /// A row is not of the shape that this version writes.
    #[error("a row can't be read")]
    Corrupt(#[source] serde_dynamo::Error),
}

impl From<serde_dynamo::Error> for StoreError {
    fn from(error: serde_dynamo::Error) -> Self {
        Self::Corrupt(error)
    }
}

impl<E, R> From<SdkError<E, R>> for StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    fn from(error: SdkError<E, R>) -> Self {
        match error.code() {
            Some("ConditionalCheckFailedException") => Self::Conflict,
            _ => Self::Unavailable(error.into()),
        }
    }
}

/// One table, and the client to reach it.
#[derive(Clone, Debug)]
pub struct Table {
    client: Client,
    name: String,
}

/// A key in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Partition.
    pub pk: String,
    /// Row within the partition.
    pub sk: String,
}

impl Key {
    /// The row `sk` in the partition `pk`.
    pub fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self {
            pk: pk.into(),
            sk: sk.into(),
        }
    }

    fn item(&self) -> Item {
        HashMap::from([("pk".to_owned(), text(&self.pk)), ("sk".to_owned(), text(&self.sk))])
    }
}

/// A string attribute.
pub fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number attribute.
pub fn number(value: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A row with its key in it. Fields that are `None` are left out, so that sparse indexes stay sparse.
pub fn row(key: &Key, value: &impl Serialize) -> Result<Item, StoreError> {
    let mut item: Item = serde_dynamo::to_item(value)?;
    item.retain(|_, value| !matches!(value, AttributeValue::Null(_)));
    item.extend(key.item());
    Ok(item)
}

impl Table {
    /// The table `name`.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            client: Client::new(config),
            name: name.into(),
        }
    }

    /// One row, read strongly.
    pub async fn get<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, StoreError> {
        Ok(self.item(key).await?.map(serde_dynamo::from_item).transpose()?)
    }

    /// One row as it is, read strongly.
    pub async fn item(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(key.item()))
            .consistent_read(true)
            .send()
            .await?;
        Ok(answer.item)
    }

    /// A put of a whole row, for a condition to be added.
    pub fn put(&self, item: Item) -> PutItemFluentBuilder {
        self.client.put_item().table_name(&self.name).set_item(Some(item))
    }

    /// An update of one row, for an expression to be added.
    pub fn update(&self, key: &Key) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key.item()))
    }

    /// Deletes one row; one that is not there is deleted already.
    pub async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(key.item()))
            .send()
            .await?;
        Ok(())
    }

    /// A query, for a key condition to be added.
    #[must_use]
    pub fn query(&self) -> QueryFluentBuilder {
        self.client.query().table_name(&self.name)
    }

    /// A scan of the whole table: for an operator's tool, and for no program that serves somebody.
    #[must_use]
    pub fn scan(&self) -> ScanFluentBuilder {
        self.client.scan().table_name(&self.name)
    }

    /// All rows of one partition, read strongly, oldest key first, at most `most`.
    pub async fn partition<T: DeserializeOwned>(&self, pk: &str, most: usize) -> Result<Vec<T>, StoreError> {
        let query = self
            .query()
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(pk))
            .consistent_read(true);
        collect(query, most).await
    }

    /// Deletes all rows of one partition.
    pub async fn forget_partition(&self, pk: &str) -> Result<(), StoreError> {
        #[derive(Deserialize)]
        struct Keys {
            sk: String,
        }
        let query = self
            .query()
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(pk))
            .projection_expression("sk")
            .consistent_read(true);
        loop {
            let keys: Vec<Keys> = collect(query.clone(), FORGOTTEN_TOGETHER).await?;
            let rows: Vec<_> = keys.iter().map(|keys| Key::new(pk, &keys.sk)).collect();
            try_join_all(rows.iter().map(|row| self.delete(row))).await?;
            if keys.len() < FORGOTTEN_TOGETHER {
                return Ok(());
            }
        }
    }

    /// The put of a transaction.
    pub fn put_in(&self, item: Item) -> PutBuilder {
        Put::builder().table_name(&self.name).set_item(Some(item))
    }

    /// The update of a transaction.
    pub fn update_in(&self, key: &Key) -> UpdateBuilder {
        Update::builder().table_name(&self.name).set_key(Some(key.item()))
    }

    /// The deletion of a transaction.
    pub fn delete_in(&self, key: &Key) -> DeleteBuilder {
        Delete::builder().table_name(&self.name).set_key(Some(key.item()))
    }

    /// All of these writes, or none. They may be of several tables. One that meets another transaction on the same row
    /// is tried again: nothing is known yet about its conditions.
    pub async fn together(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let writes: Vec<_> = writes.into_iter().map(|write| write.0).collect();
        let waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(20))
            .with_max_times(4)
            .with_jitter();
        let sent = || {
            self.client
                .transact_write_items()
                .set_transact_items(Some(writes.clone()))
                .send()
        };
        match sent
            .retry(waits)
            .when(|error| is_cancelled(error, "TransactionConflict"))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if is_cancelled(&error, "ConditionalCheckFailed") => Err(StoreError::Conflict),
            Err(error) => Err(StoreError::Unavailable(error.into())),
        }
    }
}

/// Whether a transaction was cancelled for this reason, by any of its writes.
fn is_cancelled<R>(error: &SdkError<TransactWriteItemsError, R>, reason: &str) -> bool {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
        return false;
    };
    cancelled
        .cancellation_reasons()
        .iter()
        .any(|found| found.code() == Some(reason))
}

/// One write of a transaction.
#[derive(Clone, Debug)]
pub struct Write(TransactWriteItem);

impl Write {
    /// A put.
    pub fn put(put: PutBuilder) -> Self {
        let put = put
            .build()
            .expect("the table's name and the item are set by Table::put_in");
        Self(TransactWriteItem::builder().put(put).build())
    }

    /// An update; its expression must be set.
    pub fn update(update: UpdateBuilder) -> Self {
        let update = update
            .build()
            .expect("the name and key are set by Table::update_in, the expression by the store");
        Self(TransactWriteItem::builder().update(update).build())
    }

    /// A deletion.
    pub fn delete(delete: DeleteBuilder) -> Self {
        let delete = delete
            .build()
            .expect("the table's name and the key are set by Table::delete_in");
        Self(TransactWriteItem::builder().delete(delete).build())
    }
}

/// Runs a query over its pages until `most` rows are there.
pub async fn collect<T: DeserializeOwned>(query: QueryFluentBuilder, most: usize) -> Result<Vec<T>, StoreError> {
    let mut found = Vec::new();
    let mut from = None;
    loop {
        let left = i32::try_from(most - found.len()).unwrap_or(i32::MAX);
        let page = query.clone().limit(left).set_exclusive_start_key(from).send().await?;
        for item in page.items.unwrap_or_default() {
            found.push(serde_dynamo::from_item(item)?);
        }
        from = page.last_evaluated_key.filter(|key| !key.is_empty());
        if from.is_none() || found.len() >= most {
            return Ok(found);
        }
    }
}
