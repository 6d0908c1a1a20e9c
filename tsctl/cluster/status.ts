import type { QuorumManager, QuorumStatusResponse } from "#proto/gen/quorum.ts";
import type { Verb } from "#tsctl/cli.ts";
import { renderFields } from "#tsctl/output/fields.ts";
import { ago, capitalize, humanSize, shortDuration } from "#tsctl/output/human.ts";
import { type InspectOptions, inspectOptions, printInspect } from "#tsctl/output/inspect.ts";
import { plain } from "#tsctl/output/plain.ts";
import { layoutTable } from "#tsctl/output/table.ts";

const HEADERS = [
  ...["MANAGER", "ADDRESS", "STATUS", "LAG", "COMMIT", "APPLIED", "SNAPSHOT", "LOG", "SYNC P50/P99", "PENDING"],
];

const statusOf = (m: QuorumManager, now: number): string => {
  if (!m.reachable)
    return m.heardAt > 0 ? `Unreachable since ${ago(m.heardAt, now).replace(/ ago$/, "")}` : "Unreachable";
  if (m.role === "") return m.voter ? "Reachable" : "Learner";
  return capitalize(m.role);
};

const rowOf = (m: QuorumManager, leads: boolean, now: number): string[] => {
  const { own } = m;
  const known = [m.name || m.nodeId, m.addr, statusOf(m, now), own || (leads && m.reachable) ? String(m.lag) : "-"];
  if (!own) return [...known, "-", "-", "-", "-", "-", "-"];
  const age = own.snapshotAt > 0 ? `, ${ago(own.snapshotAt, now)}` : "";
  const snapshot = own.snapshotIndex > 0 ? `${own.snapshotIndex} (${humanSize(own.snapshotBytes)}${age})` : "none";
  const sync = own.syncP99Ms > 0 ? `${own.syncP50Ms.toFixed(1)}/${own.syncP99Ms.toFixed(1)} ms` : "-";
  return [
    ...known,
    ...[String(own.commit), String(own.applied), snapshot, humanSize(own.logBytes), sync, String(own.pendingProposals)],
  ];
};

const quorumText = ({ voters, reachableVoters, needed, canLose }: QuorumStatusResponse): string => {
  if (reachableVoters < needed) return `LOST: ${reachableVoters} of ${voters} voters reachable, ${needed} needed`;
  return `${reachableVoters} of ${voters} voters reachable, can lose ${canLose} of ${reachableVoters}`;
};

export const clusterStatus: Verb = (noun, cli) =>
  inspectOptions(
    noun.command("status").description("Show the cluster and its managers, also when they have no quorum"),
  ).action(async (options: InspectOptions) => {
    const status = await (await cli.quorum()).status({});
    if (options.format !== undefined) return printInspect(cli, [plain(status)], options);
    const { cluster, members, leaderNodeId } = status;
    const spec = cluster?.spec;
    const leader = members.find((m) => m.leader);
    cli.out.write(
      renderFields([
        ["ID", cluster?.id],
        ["Name", spec?.name],
        ["Nodes", status.nodes],
        ["Quorum", quorumText(status)],
        ["Leader", leader ? leader.name || leaderNodeId : "none"],
        ["Raft", `term ${status.term}, commit ${status.commit}, applied ${status.applied} here`],
        ["Heartbeat", spec && shortDuration(spec.heartbeatMs)],
        ["Address pools", [...(spec?.poolsV4 ?? []), ...(spec?.poolsV6 ?? [])].join(", ")],
        ["Data path port", spec?.dataPathPort],
      ]),
    );
    const rows = members.map((m) => rowOf(m, leader !== undefined, cli.now()));
    cli.out.write(`\n${layoutTable([HEADERS, ...rows])}`);
    if (status.warnings.length > 0) cli.out.write(`\n${status.warnings.map((w) => `WARNING: ${w}\n`).join("")}`);
  });
