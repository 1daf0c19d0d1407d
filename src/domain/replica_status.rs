//! What the admin API shows of one replica.

use serde::Serialize;

use super::{Name, ReplicaId, ReplicaState};

/// One replica as a platform sees it, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// Its endpoint.
    #[serde(serialize_with = "as_text")]
    pub endpoint: Name,
    /// Its version.
    #[serde(serialize_with = "as_text")]
    pub version: Name,
    /// Its identity; a restarted process is a new replica.
    #[serde(serialize_with = "as_number")]
    pub id: ReplicaId,
    /// Its name, for example `demo-blue-1`; a restarted process keeps it.
    pub name: String,
    /// `address:port` of its HTTP side; empty while the address is not known.
    pub address: String,
    /// Its process, where the platform started one.
    pub pid: Option<u32>,
    /// Whether it may get work.
    pub state: ReplicaState,
    /// How often its process was started again.
    pub restarts: u32,
    /// Why it is in this state, in words.
    pub message: String,
}

fn as_text<S: serde::Serializer>(name: &Name, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn as_number<S: serde::Serializer>(id: &ReplicaId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(id.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_names_things_as_the_admin_api_does() {
        let status = ReplicaStatus {
            endpoint: Name::new("demo").unwrap(),
            version: Name::new("blue").unwrap(),
            id: ReplicaId(7),
            name: "demo-blue-1".to_owned(),
            address: "127.0.0.1:5001".to_owned(),
            pid: Some(42),
            state: ReplicaState::Ready,
            restarts: 0,
            message: "ready".to_owned(),
        };
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(
            json,
            r#"{"endpoint":"demo","version":"blue","id":7,"name":"demo-blue-1","address":"127.0.0.1:5001","pid":42,"state":"ready","restarts":0,"message":"ready"}"#
        );
    }
}
