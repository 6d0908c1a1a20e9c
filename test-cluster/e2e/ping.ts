// A ping that goes on while the cluster is hurt, and says which of its packets were never answered.
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { LiveContainer } from "#test-cluster/netns/containers.ts";
import { sleep } from "#test-cluster/netns/system.ts";

export type PingResult = { readonly answered: number; readonly lost: readonly number[] };

/** From the network of `container`, 20 packets a second. Resolves when the first was answered. */
export const startPing = async (container: LiveContainer, to: string): Promise<{ stop(): Promise<PingResult> }> => {
  const child = spawn("nsenter", [`--net=/proc/${container.pid}/ns/net`, "ping", "-n", "-i", "0.05", to], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const answered = new Set<number>();
  let said = "";
  child.stdout.on("data", (data: Buffer) => {
    said += data;
    const lines = said.split("\n");
    said = lines.pop()!;
    for (const line of lines) {
      const [, sequence] = /icmp_seq=(\d+) ttl/.exec(line) ?? [];
      if (sequence !== undefined) answered.add(Number(sequence));
    }
  });
  const stop = async (): Promise<PingResult> => {
    child.kill("SIGINT");
    await once(child, "close");
    // The last one sent may be on its way still: what counts are the holes before the last one answered.
    const last = Math.max(0, ...answered);
    const lost = Array.from({ length: last }, (_, i) => i + 1).filter((sequence) => !answered.has(sequence));
    return { answered: answered.size, lost };
  };
  for (const deadline = Date.now() + 5_000; answered.size === 0; await sleep(20))
    if (Date.now() > deadline) {
      await stop();
      throw new Error(`${to} is not reached from task ${container.taskId}`);
    }
  return { stop };
};
