// docs/reference/reachability.md is written from the rules that the matrix is checked against.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { ROOT } from "#test-cluster/e2e/fixture.ts";
import { expectedSource, renderPorts } from "#test-cluster/e2e/reachability-ports.ts";
import { expectedOf, renderMatrix } from "#test-cluster/e2e/reachability-rules.ts";

const PAGE = join(ROOT, "docs/reference/reachability.md");

const PARTS = [
  `# Who reaches whom

A client and a server on the same network, on one host (*same*) or on two (*other*). The server listens on port 80, TCP and
UDP. It is asked by its task's *address*, there on a port without a listener (*closed*), by the *name* \`tasks.SERVICE\`, by the
service's name and with it the virtual address (*vip*), and on a *published* port of its node. The tests ask all of it in a
cluster (\`test-cluster/e2e/reachability.test.ts\`) and write this page (\`UPDATE_GOLDENS=1\`).`,
  ["```", renderMatrix((cell) => expectedOf(cell).verdict), "```"].join("\n"),
  `The lines below the table are its reasons, the first that fits counts; *no* is unreachable: silence, or an answer that there
is no way.

## Published ports

Whom a server sees, by who asks which node. *outside* is a machine beside the nodes, *node* a process on node1, the last two
are containers on node1. *overlay-same* runs on node1 and *overlay-other* on node2, both are published in mode \`ingress\`;
*bridge-same* runs on node1 and is published in mode \`host\`.`,
  ["```", renderPorts(expectedSource), "```"].join("\n"),
];

describe("reference of reachability", () => {
  it("is what the rules say (UPDATE_GOLDENS=1 writes it)", () => {
    const page = `${PARTS.join("\n\n")}\n`;
    if (process.env.UPDATE_GOLDENS) writeFileSync(PAGE, page);
    expect(page).to.equal(readFileSync(PAGE, "utf8"));
  });
});
