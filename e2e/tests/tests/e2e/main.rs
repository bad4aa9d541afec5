//! End-to-end: the chart on a real cluster, a stranger's client on the other side. Run by `make test`, one after the other,
//! in the order of their names; each file says what it shows.

mod a_first_pod;
mod b_same_request;
mod c_trouble;
mod d_own_pods;
mod e_rights;
mod f_secrets;
mod g_prices;
mod h_quiet;
mod m_crash;
mod p_room;
mod s_strict;
mod t_leader;
mod z_no_values;
mod z_table;

/// A pod that sleeps: the smallest that runs.
pub const SLEEPER: &str = "
containers:
- name: app
  image: {url: registry.example/sleeper:1}
  resourceRequests:
  - {resource: cpu, amountMillis: 10}
  - {resource: memory, amountMebi: 16}
  - {resource: ephemeral-storage, amountMebi: 16}
";

/// A web server with a secret environment value and a volume that counts its starts.
pub const HELLO: &str = "
containers:
- name: app
  image: {url: registry.example/hello:1}
  ports: [{name: http, port: 80, targetPort: 8080}]
  env: {GREETING: good day}
  volumes: [{name: data, mountPath: /data}]
  resourceRequests:
  - {resource: cpu, amountMillis: 20}
  - {resource: memory, amountMebi: 24}
  - {resource: ephemeral-storage, amountMebi: 16}
volumes:
- name: data
  type: VOLUME_FILESYSTEM
  filesystem: {resourceRequests: [{resource: storage, amountMebi: 16}]}
";
