// biome-ignore-all lint/suspicious/noTemplateCurlyInString: variables of stack files look like that
// Decoders of what people write and of files of a node: tokens, keys, stack files, the kept view, DNS.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { newJoinToken, parseJoinToken } from "#base/join-token.ts";
import { appendRecord, readLastRecord } from "#base/node/last-record.ts";
import { seededRandom } from "#base/random.ts";
import { newUnlockKey, parseUnlockKey } from "#base/unlock-key.ts";
import { parseStack } from "#control-plane/stack/parse.ts";
import { parseQuery, response, upstreamQuery } from "#net/dns/packet.ts";
import { parseResolvConf } from "#net/dns/resolv-conf.ts";
import { fitted, lifetimesOf, optOf, questionOf } from "#net/dns/wire.ts";
import { loadView } from "#node-agent/session/view.ts";
import { Assignments } from "#proto/gen/dispatcher.ts";
import type { OpenTarget, Target } from "#test-cluster/fuzz/target.ts";

const text = (words: readonly string[], samples: readonly string[], run: (input: string) => unknown) => ({
  words,
  open: async (): Promise<OpenTarget> => ({
    samples: samples.map((sample) => Buffer.from(sample)),
    run: (input) => run(input.toString()),
  }),
});

/** A decoder that wants a path. */
const inFile =
  (samples: (dir: string) => readonly Uint8Array[], run: (path: string) => unknown) =>
  async (): Promise<OpenTarget> => {
    const dir = mkdtempSync(join(tmpdir(), "tswarm-fuzz-"));
    const path = join(dir, "input");
    return {
      samples: samples(dir),
      run: (input) => {
        writeFileSync(path, input);
        return run(path);
      },
      close: () => rmSync(dir, { recursive: true, force: true }),
    };
  };

/** Their contract: RangeError for a damaged message. */
const orRangeError = (run: () => unknown): void => {
  try {
    run();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
};

const digest = "0f".repeat(32);
const stackFile = readFileSync(resolve(import.meta.dirname, "../../deploy/stacks/demo.yaml"), "utf8");
const service = `services:
  a:
    image: i
    command: [x, "\${Y:-z}"]
    ports: ["8080:80/tcp", {target: 80, published: 81, mode: host}]
    networks: {front: {aliases: [b], ipv4_address: 10.0.0.9}}
    deploy: {replicas: 2, update_config: {parallelism: 1, delay: 1m30s}, resources: {limits: {memory: 64m, cpus: "0.5"}}}
    environment: {A: 1, B: }
networks: {front: {driver: overlay, ipam: {config: [{subnet: 10.0.0.0/24, aux_addresses: {p: 10.0.0.3}}]}}}
`;
const words = [
  ...[
    "services:\n",
    "networks:\n",
    "  a:\n",
    "    image: x\n",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "x: &s [*s]\n",
    "[".repeat(3000),
    "<<: *a\n",
    "!!binary x",
  ],
  ...[
    "!!set {a}",
    "? a\n: b\n",
    "---\n",
    "...\n",
    "|\n",
    ">-\n",
    "null",
    "~",
    "true",
    ".inf",
    ".nan",
    "0x1f",
    "-1",
    "1e999",
  ],
  ...[
    "9".repeat(40),
    "$",
    "${",
    "${A:-${B}}",
    "${A:?e}",
    "$$",
    "%YAML 9\n",
    "\t",
    "\0",
    "\u{feff}",
    "__proto__: {x: 1}\n",
  ],
  ...[
    "constructor",
    "toString",
    "healthcheck: {}",
    "deploy: ",
    "ports: ",
    "1-2:3-4/udp",
    "::1",
    "10.0.0.0/0",
    "- - - -",
    "!!js/function",
  ],
];

const dnsQuery = Buffer.from(
  "12340120000100000000000103777777076578616d706c6503636f6d00000100010000291000000080000000",
  "hex",
);
const dnsAnswer = Buffer.from(
  "123481800001000200000001026162036e65740000010001c00c00050001000000780004016301 78c00cc02a00010001000000050004 0a000001000029100000000000 0000".replace(
    / /g,
    "",
  ),
  "hex",
);

export const fileTargets: readonly Target[] = [
  {
    name: "join token",
    ...text(["TSWTKN-1-", "-", digest], [newJoinToken(digest, seededRandom(1))], parseJoinToken),
  },
  { name: "unlock key", ...text(["TSWKEY-1-", "-"], [newUnlockKey(seededRandom(1))], parseUnlockKey) },
  {
    name: "stack file",
    weight: 3,
    ...text(words, [stackFile, service], (input) => parseStack(input, { name: "s", env: { A: "1" } })),
  },
  {
    name: "resolv.conf",
    ...text(
      ["nameserver ", "search ", "options ", "::1", "\n"],
      ["nameserver 192.0.2.1\nsearch a b\noptions ndots:1\n"],
      parseResolvConf,
    ),
  },
  {
    name: "kept view",
    open: inFile(
      () => [
        Assignments.encode(
          Assignments.fromPartial({
            kind: 1,
            sequence: 1,
            put: [
              { key: "task/a", item: { $case: "task", value: { id: "a" } } },
              { key: "endpoint/n/x", item: { $case: "endpoint", value: { taskId: "x" } } },
            ],
          }),
        ).finish(),
      ],
      loadView,
    ),
  },
  {
    name: "last record",
    open: inFile((dir) => {
      const path = join(dir, "sample");
      for (const data of ["a", "bb", "c".repeat(300)]) appendRecord(path, Buffer.from(data));
      return [readFileSync(path)];
    }, readLastRecord),
  },
  {
    name: "DNS message",
    open: async () => ({
      samples: [dnsQuery, dnsAnswer],
      run: (input) => {
        const parsed = parseQuery(input);
        if (parsed.kind === "query") {
          upstreamQuery(parsed.query, 7);
          response(parsed.query, 0);
        }
        questionOf(input);
        for (const limit of [12, 40, 512]) fitted(input, limit);
        orRangeError(() => lifetimesOf(input));
        orRangeError(() => optOf(input));
      },
    }),
  },
];
