//! Generated code, and the one message that is written by hand.

#![allow(
    missing_docs,
    rustdoc::all,
    clippy::allow_attributes_without_reason,
    clippy::all,
    clippy::pedantic,
    reason = "generated from proto/, where the comments are"
)]

pub mod log {
    pub mod v1 {
        tonic::include_proto!("barid.log.v1");
    }
}

pub mod v1 {
    use bytes::Bytes;
    use prost_types::Timestamp;

    tonic::include_proto!("barid.v1");

    /// The descriptors of the public contract, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/barid.v1.bin"));

    /// `barid.v1.Delivery`, with the article as the bytes that the log holds: fields that this release
    /// does not know pass through unchanged. The wire form of a message field and of bytes is one.
    #[derive(Clone, PartialEq, ::prost::Message)]
    pub struct Delivery {
        #[prost(string, tag = "1")]
        pub cursor: String,
        #[prost(string, repeated, tag = "2")]
        pub topics: Vec<String>,
        #[prost(enumeration = "Action", tag = "3")]
        pub action: i32,
        #[prost(uint32, tag = "4")]
        pub revision: u32,
        #[prost(bytes = "bytes", tag = "5")]
        pub article: Bytes,
        #[prost(message, optional, tag = "6")]
        pub published_at: Option<Timestamp>,
        #[prost(message, optional, tag = "7")]
        pub routed_at: Option<Timestamp>,
        #[prost(string, tag = "8")]
        pub traceparent: String,
    }

    /// What filters and later revisions need of an encoded article; decoding skips the rest.
    #[derive(Clone, PartialEq, ::prost::Message)]
    pub struct ArticleFacets {
        #[prost(string, tag = "10")]
        pub language: String,
        #[prost(uint32, tag = "14")]
        pub urgency: u32,
        #[prost(message, optional, tag = "18")]
        pub first_created: Option<Timestamp>,
        #[prost(message, optional, tag = "21")]
        pub expires: Option<Timestamp>,
    }

    /// What a filter's words look at in an encoded article.
    #[derive(Clone, PartialEq, ::prost::Message)]
    pub struct ArticleText {
        #[prost(string, tag = "3")]
        pub headline: String,
        #[prost(string, tag = "4")]
        pub subheadline: String,
        #[prost(string, tag = "5")]
        pub slugline: String,
        #[prost(string, tag = "6")]
        pub body: String,
        #[prost(enumeration = "BodyType", tag = "7")]
        pub body_type: i32,
    }
}
