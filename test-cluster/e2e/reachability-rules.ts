// Who reaches whom: the axes of the matrix, and what must come out in each cell. The first rule that fits a cell says it;
// without one the cell is reachable.

export const AXES = {
  driver: ["bridge", "overlay", "macvlan", "host", "none"],
  /** Where the server is, as seen from the client: both are on the same network. */
  host: ["same", "other"],
  family: [4, 6],
  /** How the client names the server: its task's address, there a port without a listener, and so on. */
  way: ["address", "closed", "name", "vip", "published"],
  protocol: ["tcp", "udp", "icmp"],
} as const;

export type Cell = { readonly [K in keyof typeof AXES]: (typeof AXES)[K][number] };
export type Verdict = "reachable" | "refused" | "unreachable" | "no such name" | "n/a";
type Rule = {
  readonly when: { readonly [K in keyof Cell]?: readonly Cell[K][] };
  readonly verdict: Verdict;
  readonly why: string;
};

const RULES: readonly Rule[] = [
  { when: { way: ["published", "closed"], protocol: ["icmp"] }, verdict: "n/a", why: "ICMP has no ports" },
  {
    when: { way: ["vip"], driver: ["bridge", "macvlan", "host", "none"] },
    verdict: "n/a",
    why: "services have virtual addresses on overlays only; elsewhere their name is that of their tasks",
  },
  {
    when: { driver: ["none"], way: ["published"] },
    verdict: "n/a",
    why: "refused when the service is made: nothing reaches it",
  },
  { when: { driver: ["none"], way: ["name"] }, verdict: "no such name", why: "there is no name server in it" },
  { when: { driver: ["none"] }, verdict: "unreachable", why: "it has lo and nothing else (asked: the node)" },
  {
    when: { driver: ["host"], way: ["name"] },
    verdict: "no such name",
    why: "it asks what the host asks, and the host does not know the cluster's names",
  },
  {
    when: { driver: ["bridge"], host: ["other"], way: ["name"] },
    verdict: "no such name",
    why: "on a bridge only containers of the same node have names: others could not be reached",
  },
  {
    when: { driver: ["bridge"], host: ["other"], way: ["address", "closed"] },
    verdict: "unreachable",
    why: "each node has a bridge of its own",
  },
  {
    when: { driver: ["macvlan"], host: ["same"], way: ["published"] },
    verdict: "unreachable",
    why: "the kernel passes nothing between a macvlan and the link below it, where the node's address is",
  },
  { when: { way: ["closed"] }, verdict: "refused", why: "the host of the address says that nobody listens" },
];

const fits = ({ when }: Rule, cell: Cell): boolean =>
  Object.entries(when).every(([axis, values]) => (values as readonly unknown[]).includes(cell[axis as keyof Cell]));

export const expectedOf = (cell: Cell): Pick<Rule, "verdict" | "why"> =>
  RULES.find((rule) => fits(rule, cell)) ?? { verdict: "reachable", why: "" };

export const CELLS: readonly Cell[] = AXES.driver.flatMap((driver) =>
  AXES.host.flatMap((host) =>
    AXES.family.flatMap((family) =>
      AXES.way.flatMap((way) => AXES.protocol.map((protocol) => ({ driver, host, family, way, protocol }))),
    ),
  ),
);

const SIGNS: Readonly<Record<Verdict, string>> = {
  reachable: "yes",
  refused: "refused",
  unreachable: "no",
  "no such name": "no name",
  "n/a": "·",
};

/** Rows: driver, place and family; columns: ways and protocols. A verdict that was not expected has an exclamation mark. */
export const renderMatrix = (verdictOf: (cell: Cell) => Verdict): string => {
  const wide = 8;
  const cells = (texts: readonly string[]): string => texts.map((t) => t.padEnd(wide)).join("");
  const head = cells(AXES.way.flatMap((way) => [way, ...AXES.protocol.slice(1).map(() => "")]));
  const second = cells(AXES.way.flatMap(() => AXES.protocol));
  const rows = Object.values(Object.groupBy(CELLS, ({ driver, host, family }) => `${driver} ${host} v${family}`)).map(
    (row) => {
      const { driver, host, family } = row![0]!;
      const verdicts = row!.map((cell) => {
        const verdict = verdictOf(cell);
        return SIGNS[verdict] + (verdict === expectedOf(cell).verdict ? "" : "!");
      });
      return `${driver.padEnd(9)}${host.padEnd(7)}v${family}  ${cells(verdicts)}`;
    },
  );
  const reasons = RULES.map(
    ({ when, verdict, why }) =>
      `${verdict}: ${Object.values(when)
        .map((v) => v.join("/"))
        .join(", ")}: ${why}`,
  );
  return [`${" ".repeat(20)}${head}`, `${" ".repeat(20)}${second}`, ...rows, ...reasons]
    .map((l) => l.trimEnd())
    .join("\n");
};
