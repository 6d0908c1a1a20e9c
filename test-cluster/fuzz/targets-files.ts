// biome-ignore-all lint/suspicious/noTemplateCurlyInString: variables of stack files look like that
// Decoders of what people write and of files of a node: tokens, keys, stack files, the kept view, DNS.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { newJoinToken, parseJoinToken } from "#base/join-token.ts";
import { loadIdentity, lockedSubject, saveIdentity } from "#base/node/identity-files.ts";
import { appendRecord, readLastRecord } from "#base/node/last-record.ts";
import { createCa, createKeyAndRequest, issueCertificate } from "#base/node/pki.ts";
import { boxKey } from "#base/node/sealed-box.ts";
import { realClock } from "#base/node/system.ts";
import { seededRandom } from "#base/random.ts";
import { newUnlockKey, parseUnlockKey } from "#base/unlock-key.ts";
import { createMemoryLog, member } from "#control-plane/log/memory-log.ts";
import { bootstrapCluster } from "#control-plane/manager/bootstrap.ts";
import { createReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { createKeyFile, openKeyFile } from "#control-plane/raft-host/key-file.ts";
import { memoryDisk } from "#control-plane/raft-host/memory-disk.ts";
import { parseStack } from "#control-plane/stack/parse.ts";
import { createState } from "#control-plane/state/state.ts";
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

/** Text that is JSON: its words as well as its bytes are changed. */
const JSON_WORDS = ["null", "{}", "[]", "0", '""', '"x"', "-1", "1e999", '{"a":', "true", ",", "}", "[".repeat(5_000)];

const keysOf = boxKey(Buffer.from("secret"), "node key");
const unlockKey = newUnlockKey(seededRandom(1));
const identity = async () => {
  const ca = await createCa(Date.now());
  const { keyPem, csrPem } = await createKeyAndRequest();
  const subject = { nodeId: "n1", clusterId: "c", role: "manager" } as const;
  const certificatePem = await issueCertificate(ca, csrPem, subject, Date.now(), 3_600_000);
  return { keyPem, certificatePem, caPem: ca.certificatePem };
};
const bootstrap = {
  ...{ clusterId: "c", nodeId: "n1", hostname: "one", addr: "192.0.2.1:1", caKeyPem: "k", caCertificatePem: "c" },
  ...{ joinTokenWorker: "w", joinTokenManager: "m", spec: { name: "blue", poolsV4: ["10.0.0.0/8"], poolV4Prefix: 24 } },
};

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
    name: "key file",
    words: JSON_WORDS,
    open: async () => {
      const disk = memoryDisk();
      createKeyFile(disk, "/", keysOf);
      return {
        samples: [disk.read("/keys")],
        run: (input) => openKeyFile(memoryDisk(new Map([["/keys", input]])), "/", [keysOf]).current(),
      };
    },
  },
  {
    name: "identity file",
    words: JSON_WORDS,
    open: async () => {
      const dir = mkdtempSync(join(tmpdir(), "tswarm-fuzz-"));
      const path = join(dir, "identity.json");
      const made = await identity();
      const samples = ["", unlockKey].map((key) => {
        saveIdentity(dir, made, key);
        return readFileSync(path);
      });
      return {
        samples,
        run: (input) => {
          writeFileSync(path, input);
          loadIdentity(dir, unlockKey);
          lockedSubject(dir);
        },
        close: () => rmSync(dir, { recursive: true, force: true }),
      };
    },
  },
  {
    name: "what a new cluster is made from",
    words: JSON_WORDS,
    open: async () => {
      const dir = mkdtempSync(join(tmpdir(), "tswarm-fuzz-"));
      return {
        samples: [Buffer.from(JSON.stringify(bootstrap))],
        run: async (input) => {
          writeFileSync(join(dir, "bootstrap.json"), input);
          const replicated = createReplicatedState(createState(), realClock, seededRandom(1));
          const log = createMemoryLog(replicated.machine);
          log.become({ members: [member(1, "n1")] });
          replicated.attach(log);
          await bootstrapCluster(dir, replicated);
        },
        close: () => rmSync(dir, { recursive: true, force: true }),
      };
    },
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
