// Published ports: who asks which node for a server that is where, and whom the server must see.

const AXES = {
  /** All but `outside` are on node1: the node itself (a container on network host), and containers of other networks. */
  client: ["outside", "node", "on the overlay", "on the bridge"],
  /** "same" runs on node1, "other" on node2; those of the overlay are published in mode ingress, that of the bridge in mode host. */
  server: ["overlay-same", "overlay-other", "bridge-same"],
  asked: ["node1", "node2", "node3", "loopback"],
  family: [4, 6],
  protocol: ["tcp", "udp"],
} as const;
type Axes = typeof AXES;
export type PortCell = { readonly [K in keyof Axes]: Axes[K][number] };
export type PortClient = PortCell["client"];

export const LOOPBACK = { 4: "127.0.0.1", 6: "::1" } as const;

/** First that fits. What the server sees: the client's own address, "node1" for node1's, "gateway" for one of its other links. */
const RULES: readonly [fits: (cell: PortCell) => boolean, result: string, why: string][] = [
  [
    ({ server, asked }) => server.startsWith("bridge") && asked !== "node1" && asked !== "loopback",
    "refused",
    "mode host: only the task's node publishes it",
  ],
  [
    ({ asked, family }) => asked === "loopback" && family === 6,
    "refused",
    "the kernel routes nothing that comes from ::1",
  ],
  [({ client }) => client === "outside", "client", "never translated, on whatever node the task is"],
  [
    ({ asked }) => asked === "loopback",
    "gateway",
    "nothing can be answered to 127.0.0.1: it leaves with the address of the link that it takes",
  ],
  [
    ({ client, asked }) => client !== "node" && asked === "node1",
    "gateway",
    "between networks of one node a container has the address of the link to the other network",
  ],
  [() => true, "node1", "what leaves a node has the node's address"],
];

const isAsked = ({ client, asked }: PortCell): boolean => asked !== "loopback" || client === "node";

const product = (): PortCell[] =>
  AXES.client.flatMap((client) =>
    AXES.asked.flatMap((asked) =>
      AXES.server.flatMap((server) =>
        AXES.family.flatMap((family) => AXES.protocol.map((protocol) => ({ client, server, asked, family, protocol }))),
      ),
    ),
  );
export const PORT_CELLS: readonly PortCell[] = product().filter(isAsked);

export const expectedSource = (cell: PortCell): string => RULES.find(([fits]) => fits(cell))![1];

/** Rows: client and node that it asks; columns: server, family and protocol. */
export const renderPorts = (resultOf: (cell: PortCell) => string): string => {
  const columns = AXES.server.flatMap((server) =>
    AXES.family.flatMap((family) => AXES.protocol.map((protocol) => ({ server, text: `${protocol}${family}` }))),
  );
  const rows = Object.entries(Object.groupBy(PORT_CELLS, ({ client, asked }) => `${client}, asks ${asked}`));
  const line = (head: string, texts: readonly string[]): string =>
    `${head.padEnd(30)}${texts.map((t) => t.padEnd(12)).join("")}`.trimEnd();
  return [
    line(
      "the server sees",
      columns.map(({ server }, i) => (columns[i - 1]?.server === server ? "" : server)),
    ),
    line(
      "",
      columns.map(({ text }) => text),
    ),
    ...rows.map(([head, cells]) =>
      line(
        head,
        cells!.map((cell) => `${resultOf(cell)}${resultOf(cell) === expectedSource(cell) ? "" : "!"}`),
      ),
    ),
    ...RULES.map(([, result, why]) => `${result}: ${why}`),
  ].join("\n");
};
