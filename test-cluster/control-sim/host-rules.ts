// What must hold on the hosts, whatever the control plane believes: who runs, and who has which address.
import type { View } from "#node-agent/session/view.ts";
import { type Task, TaskState } from "#proto/gen/types.ts";
import type { HostWatch, SimHost } from "#test-cluster/control-sim/host.ts";
import type { Reference } from "#test-cluster/control-sim/reference.ts";
import type { StateRules } from "#test-cluster/control-sim/state-rules.ts";

export class HostRules implements Omit<HostWatch, "taken"> {
  readonly hosts: SimHost[] = [];
  readonly #reference: Reference;
  readonly #states: StateRules;
  readonly #violate: (property: string, detail: string) => void;
  readonly #reported = new Map<string, number>();

  constructor(reference: Reference, states: StateRules, violate: (property: string, detail: string) => void) {
    this.#reference = reference;
    this.#states = states;
    this.#violate = violate;
  }

  /** Who removes a node takes its addresses from it, and must see to it that nothing runs there. */
  #counts(host: SimHost): boolean {
    return !host.leaving && this.#reference.state.get("node", host.nodeId) !== undefined;
  }

  #uses(host: SimHost, task: Task): boolean {
    const container = host.containers.get(task.id);
    if (container !== undefined) return container.state !== "exited";
    const known = this.#reference.state.get("task", task.id);
    return known !== undefined && (known.status?.state ?? 0) <= TaskState.TASK_RUNNING;
  }

  #keys(task: Task): string[] {
    return task.attachments.flatMap(({ networkId, ipv4, ipv6 }) =>
      [ipv4, ipv6].filter((a) => a !== "").map((a) => `${networkId} ${a.split("/")[0]}`),
    );
  }

  attached(host: SimHost, task: Task): void {
    if (!this.#counts(host) || !this.#uses(host, task)) return;
    const keys = new Set(this.#keys(task));
    for (const other of this.hosts) {
      if (!this.#counts(other)) continue;
      for (const known of other.wired.values()) {
        if (known.id === task.id || !this.#uses(other, known)) continue;
        const both = this.#keys(known).find((key) => keys.has(key));
        if (both !== undefined)
          this.#violate(
            "one owner of each address, on the hosts",
            `${both}: ${task.id} on ${host.name}, ${known.id} on ${other.name}`,
          );
      }
    }
  }

  starts(host: SimHost, taskId: string): void {
    const task = host.wired.get(taskId);
    if (task === undefined) this.#violate("a container starts when it is wired", `${taskId} on ${host.name}`);
    if (task === undefined || !this.#counts(host)) return;
    for (const other of this.hosts) {
      if (!this.#counts(other)) continue;
      for (const container of other.containers.values()) {
        if (container.state !== "running" || (other === host && container.id === taskId)) continue;
        if (container.id === taskId)
          this.#violate("no task runs on two nodes", `${taskId}: ${host.name}, ${other.name}`);
        const beside = other.wired.get(container.id);
        if (beside === undefined) continue;
        if (task.serviceId !== "" && beside.serviceId === task.serviceId && beside.slot === task.slot) {
          const { beside: allowed } = this.#states;
          if (!allowed.get(taskId)?.has(beside.id) && !allowed.get(beside.id)?.has(taskId))
            this.#violate("a slot runs once", `${task.name}: ${taskId} on ${host.name}, ${beside.id} on ${other.name}`);
        }
        if (other !== host) continue;
        for (const a of task.ports)
          for (const b of beside.ports)
            if (a.published === b.published && a.protocol === b.protocol)
              this.#violate(
                "one owner of each port of a host",
                `${a.published} of ${host.name}: ${taskId}, ${beside.id}`,
              );
      }
    }
  }

  /** The agent tells nobody a state that is behind what it has told before, also not after a crash. */
  reported(host: SimHost, taskId: string, state: number): void {
    if (state < (this.#reported.get(taskId) ?? 0))
      this.#violate(
        "reported states never go back",
        `${taskId} on ${host.name}: ${this.#reported.get(taskId)} to ${state}`,
      );
    this.#reported.set(taskId, state);
  }

  told(host: SimHost, view: View): void {
    for (const task of view.tasks.values())
      if (task.nodeId !== host.nodeId)
        this.#violate("a node is told of its own tasks", `${task.id} of ${task.nodeId} on ${host.name}`);
  }
}
