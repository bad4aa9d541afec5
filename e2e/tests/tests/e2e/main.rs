//! End-to-end: the chart on a real cluster, a stranger's client on the other side. Run by `make test`: what shares one
//! install at the same time, then what needs it alone, in the order of the names.

/// Beside each other, on one install.
mod shared {
    mod admin;
    mod delegations;
    mod dns;
    mod dry_run;
    mod first_pod;
    mod looks;
    mod own_pods;
    mod policies;
    mod prices;
    mod same_request;
    mod trouble;
    mod whole_pod;
}

/// One after the other: they kill, count or change what is installed. In this order the fewest installs are changed.
mod alone {
    mod a_rights;
    mod b_quiet;
    mod c_crash;
    mod d_leader;
    mod e_host_port;
    mod e_secrets;
    mod f_flood;
    mod f_room;
    mod g_strict;
    mod h_no_values;
    mod i_table;
    mod j_admin;
}

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
