# shellcheck shell=bash disable=SC2034  # read by run, down and provider-address
TOOL=e2e/cluster/cluster
RELEASE=apocryph-provider
NAMESPACE=apocryph-system
OPERATOR_IMAGE=localhost/apocryph-provider:dev
# What the publisher of the demo keeps: key and state.
WORK=${XDG_STATE_HOME:-$HOME/.local/state}/apocryph/demo
