//! Who the client is when proxies stand in between.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use http::{HeaderMap, header, request::Parts, uri::Authority};
use ipnet::IpNet;

use crate::{Kind, Problem};

/// Every proxy adds the address it was called from at the end, so only the end can be believed.
const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
const FORWARDED_HOST: &str = "x-forwarded-host";

/// The address of the client: the peer of the connection, or, if that is a trusted proxy, the last
/// address in `X-Forwarded-For` that is not one. The listener puts it into the extensions of each
/// request; handlers take it as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// That of a request.
    ///
    /// # Errors
    /// `internal` for one that did not come through the listener.
    pub fn of(parts: &Parts) -> Result<Self, Problem> {
        let address = parts.extensions.get::<Self>().copied();
        address.ok_or_else(|| Problem::internal("the request did not come through the listener"))
    }

    /// What counts as one client: the address, of IPv6 its /64 network.
    #[must_use]
    pub fn network(self) -> IpAddr {
        super::peers::owner(self.0)
    }
}

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::of(parts)
    }
}

/// Does the request come from one of our own proxies?
#[derive(Clone, Copy, Debug)]
pub(super) struct FromProxy(pub(super) bool);

/// What clients write before the path to get here, such as `https://cloud.example:8443`: of what a
/// trusted proxy says in `X-Forwarded-Proto` and `X-Forwarded-Host`, else of the request itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicOrigin(pub String);

impl<S: Sync> FromRequestParts<S> for PublicOrigin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let proxy = parts.extensions.get::<FromProxy>();
        origin(parts, proxy.is_some_and(|proxy| proxy.0))
    }
}

fn origin(parts: &Parts, from_proxy: bool) -> Result<PublicOrigin, Problem> {
    let told = |name: &str| -> Option<&str> {
        let value = parts.headers.get(name).filter(|_| from_proxy)?;
        // The first is what the client asked the outermost proxy for.
        let first = value.to_str().ok()?.split(',').next()?.trim();
        Some(first).filter(|first| !first.is_empty())
    };
    let scheme = told(FORWARDED_PROTO).filter(|scheme| ["http", "https"].contains(scheme));
    let host = told(FORWARDED_HOST).or_else(|| {
        let host = parts.headers.get(header::HOST)?.to_str().ok();
        host.filter(|host| !host.is_empty())
    });
    // HTTP/2 has no Host but an authority.
    let host = host.or_else(|| Some(parts.uri.authority()?.as_str()));
    let host = host.filter(|host| Authority::try_from(*host).is_ok() && !host.contains('@'));
    let detail = "the request does not say by what name it reached this server";
    let host = host.ok_or_else(|| Problem::new(Kind::MalformedRequest, detail))?;
    Ok(PublicOrigin(format!(
        "{}://{host}",
        scheme.unwrap_or("http")
    )))
}

/// Is this one of our own proxies?
pub(super) fn is_trusted(address: IpAddr, proxies: &[IpNet]) -> bool {
    let address = address.to_canonical();
    proxies.iter().any(|network| network.contains(&address))
}

/// The client of a request that came from `peer`.
pub(super) fn address(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> ClientAddress {
    let mut client = peer.to_canonical();
    if !is_trusted(client, proxies) {
        return ClientAddress(client);
    }
    let fields = headers.get_all(FORWARDED_FOR).iter().rev();
    let hops = fields.flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops {
        // Behind what is not an address, anything may have been made up.
        let Some(address) = parse(hop) else {
            break;
        };
        client = address;
        if !is_trusted(client, proxies) {
            break;
        }
    }
    ClientAddress(client)
}

/// An address, also with a port or in brackets, as some proxies write them.
fn parse(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address: Option<IpAddr> = bare.unwrap_or(text).parse().ok();
    let with_port = || Some(text.parse::<std::net::SocketAddr>().ok()?.ip());
    Some(address.or_else(with_port)?.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let proxies = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let ClientAddress(client) = address(peer.parse().unwrap(), &headers, &proxies);
        client.to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(client("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("fd00::1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn the_last_address_that_is_no_proxy_counts() {
        let made_up = "203.0.113.9, 198.51.100.7 , 10.0.0.2";
        assert_eq!(client("10.0.0.1", &[made_up]), "198.51.100.7");
        assert_eq!(
            client("10.0.0.1", &["203.0.113.9", "198.51.100.7", "10.0.0.2"]),
            "198.51.100.7"
        );
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(
            client("10.0.0.1", &["203.0.113.9, ?, 10.0.0.2"]),
            "10.0.0.2"
        );
        assert_eq!(client("10.0.0.1", &["198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
    }

    #[test]
    fn the_address_that_clients_use() {
        let ask = |fields: &[(&'static str, &str)], from_proxy| {
            let mut request = http::Request::new(());
            for (name, value) in fields {
                request.headers_mut().append(*name, value.parse().unwrap());
            }
            origin(&request.into_parts().0, from_proxy).map(|origin| origin.0)
        };
        let fields = [
            ("host", "inside:8080"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "cloud.example, inner"),
        ];
        assert_eq!(ask(&fields, false).unwrap(), "http://inside:8080");
        assert_eq!(ask(&fields, true).unwrap(), "https://cloud.example");
        assert_eq!(ask(&fields[..2], true).unwrap(), "https://inside:8080");
        let odd = [("host", "inside"), ("x-forwarded-proto", "javascript")];
        assert_eq!(ask(&odd, true).unwrap(), "http://inside");
        assert!(ask(&[], true).is_err());
        assert!(ask(&[("host", "a"), ("x-forwarded-host", "b c")], true).is_err());
    }
}
