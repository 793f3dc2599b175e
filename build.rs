//! Compiles the public contract and the stored records; protox stands in for protoc.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "barid/v1/article.proto",
        "barid/v1/delivery.proto",
        "barid/v1/publisher.proto",
        "barid/v1/subscriber.proto",
        "barid/v1/articles.proto",
        "barid/v1/desk.proto",
        "barid/v1/webhook.proto",
        "barid/v1/recipients.proto",
        "barid/log/v1/record.proto",
    ];
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;

    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?);
    // Reflection shows the public contract alone.
    let mut public = descriptors.clone();
    public.file.retain(|file| file.package() != "barid.log.v1");
    fs::write(out.join("barid.v1.bin"), public.encode_to_vec())?;

    tonic_prost_build::configure()
        // Edges forward the bytes of an article unchanged, so that fields they don't know survive:
        // these two are written by hand, with `article` as bytes.
        .extern_path(".barid.v1.Delivery", "crate::wire::proto::v1::Delivery")
        .extern_path(".google.rpc.Status", "::tonic_types::Status")
        .bytes(".barid.log.v1")
        .btree_map(".barid.v1.Topic.names")
        .compile_fds(descriptors)?;
    // The generator has no setting for the codec of its services.
    let generated = out.join("barid.v1.rs");
    let code = fs::read_to_string(&generated)?;
    let code = code.replace("tonic_prost::ProstCodec", "crate::wire::codec::StrictCodec");
    fs::write(&generated, code)?;
    Ok(())
}
