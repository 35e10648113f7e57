#!/usr/bin/env bash
# Check the dashboards against Grafana's own schema: the types of @grafana/schema, of the Grafana
# that the builders are for, by the TypeScript compiler. Needs node, npm and its registry.
set -eu -o pipefail
here="$(cd "$(dirname "$0")" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts typescript@5.9 >/dev/null
# The types alone: the package's own dependencies are not needed to read them.
npm pack --silent @grafana/schema@11.6.0 >/dev/null
mkdir -p node_modules/@grafana/schema
tar xzf grafana-schema-11.6.0.tgz -C node_modules/@grafana/schema --strip-components 1
{
  echo "import type { Dashboard } from '@grafana/schema';"
  number=0
  for file in "$here"/dashboards/*.json; do
    number=$((number + 1))
    echo "export const page$number: Dashboard ="
    cat "$file"
    echo ";"
  done
} > check.mts
node_modules/.bin/tsc --noEmit --strict --skipLibCheck \
  --module nodenext --moduleResolution nodenext --target es2022 check.mts
echo "$number dashboards fit the schema of Grafana 11.6"
