//! Debug of the messages that hold secrets: lengths and names instead of values.

use std::fmt::{Debug, Formatter, Result};

use crate::v0::{
    pod::{Container, Key, KeyPair, image::PullSecret, volume::SecretConfig},
    provision_pod::LogLine,
    signing::Envelope,
};

const HIDDEN: &str = "<secret>";

impl Debug for Container {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        // Without `..`: a new field is a decision.
        let Container {
            name,
            image,
            command,
            args,
            working_dir,
            ports,
            env,
            volumes,
            resource_requests,
            user,
        } = self;
        f.debug_struct("Container")
            .field("name", name)
            .field("image", image)
            .field("command", command)
            .field("args", args)
            .field("working_dir", working_dir)
            .field("ports", ports)
            .field("env", &env.keys().collect::<Vec<_>>())
            .field("volumes", volumes)
            .field("resource_requests", resource_requests)
            .field("user", user)
            .finish()
    }
}

impl Debug for PullSecret {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let PullSecret { username, password: _ } = self;
        f.debug_struct("PullSecret")
            .field("username", username)
            .field("password", &HIDDEN)
            .finish()
    }
}

impl Debug for SecretConfig {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let SecretConfig {
            cid,
            key,
            file,
            contents: _,
            contents_string: _,
        } = self;
        f.debug_struct("SecretConfig")
            .field("cid", cid)
            .field("key", key)
            .field("file", file)
            .field("contents", &HIDDEN)
            .field("contents_string", &HIDDEN)
            .finish()
    }
}

impl Debug for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Key { data: _ } = self;
        f.debug_struct("Key").field("data", &HIDDEN).finish()
    }
}

impl Debug for KeyPair {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let KeyPair {
            private_key: _,
            pub_address,
        } = self;
        f.debug_struct("KeyPair")
            .field("private_key", &HIDDEN)
            .field("pub_address", pub_address)
            .finish()
    }
}

impl Debug for Envelope {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Envelope {
            operation,
            pod_id,
            request_hash,
            provider,
            requester,
            request,
            publisher,
            chain_id,
            issued_at,
            expires_at,
            after_generation,
            signature,
            delegation,
            sealed,
        } = self;
        f.debug_struct("Envelope")
            .field("operation", operation)
            .field("pod_id", pod_id)
            .field("request_hash", request_hash)
            .field("provider", provider)
            .field("requester", requester)
            // Environment values are in it.
            .field("request", &format_args!("<{} bytes>", request.len()))
            .field("publisher", publisher)
            .field("chain_id", chain_id)
            .field("issued_at", issued_at)
            .field("expires_at", expires_at)
            .field("after_generation", after_generation)
            .field("signature", signature)
            .field("delegation", delegation)
            .field("sealed", sealed)
            .finish()
    }
}

impl Debug for LogLine {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let LogLine { at, text, cut } = self;
        f.debug_struct("LogLine")
            .field("at", at)
            // Programs write secrets too.
            .field("text", &format_args!("<{} bytes>", text.len()))
            .field("cut", cut)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v0::{
        pod::{Image, Pod, Volume, volume::Configuration},
        provision_pod::ProvisionPodRequest,
    };
    use prost::Message;

    #[test]
    fn no_secret_is_printed_however_deep_it_stands() {
        let secret = || "s3cr3t".to_owned();
        let key = || {
            Some(Key {
                data: b"s3cr3t".to_vec(),
            })
        };
        let image = Image {
            key: key(),
            pull_secret: Some(PullSecret {
                username: "user".into(),
                password: secret(),
            }),
            ..Default::default()
        };
        let container = Container {
            image: Some(image),
            env: [("NAME".into(), secret())].into(),
            ..Default::default()
        };
        let contents = SecretConfig {
            key: key(),
            contents: b"s3cr3t".to_vec(),
            contents_string: secret(),
            ..Default::default()
        };
        let volume = Volume {
            configuration: Some(Configuration::Secret(contents)),
            ..Default::default()
        };
        let pod = Pod {
            containers: vec![container],
            volumes: vec![volume],
            key_pair: Some(KeyPair {
                private_key: secret(),
                pub_address: "0x1".into(),
            }),
            ..Default::default()
        };
        let request = ProvisionPodRequest {
            pod: Some(pod),
            ..Default::default()
        };
        let envelope = Envelope {
            request: request.encode_to_vec(),
            operation: "provision".into(),
            ..Default::default()
        };

        let line = LogLine {
            text: b"s3cr3t".to_vec(),
            ..Default::default()
        };

        // Bytes are printed as text or as a list of numbers.
        for shown in [format!("{request:?}"), format!("{envelope:?}"), format!("{line:?}")] {
            assert!(
                !shown.contains("s3cr3t") && !shown.contains("115, 51, 99, 114"),
                "{shown}"
            );
        }
        assert!(format!("{request:?}").contains("NAME"));
        assert!(format!("{envelope:?}").contains("provision"));
    }
}
