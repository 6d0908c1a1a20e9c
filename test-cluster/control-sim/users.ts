// Users: they make, change and remove services, networks, containers and nodes through any manager. What is acknowledged
// must be in the state, what is refused must never come into it.
import { TswarmError } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import { ControlDefinition } from "#proto/gen/control.ts";
import {
  type DeepPartial,
  FailureAction,
  type NetworkAttachmentConfig,
  NetworkSpec,
  NodeAvailability,
  NodeRole,
  NodeState,
  PortMode,
  RestartCondition,
  ServiceSpec,
  TaskSpec,
  UpdateOrder,
} from "#proto/gen/types.ts";
import { createClient, type RpcClient } from "#proto/rpc/client.ts";
import type { SimNet } from "#test-cluster/control-sim/grpc.ts";
import { IMAGE } from "#test-cluster/control-sim/host.ts";
import { localAddress, type SimManager } from "#test-cluster/control-sim/manager.ts";
import type { Reference } from "#test-cluster/control-sim/reference.ts";
import type { StateRules } from "#test-cluster/control-sim/state-rules.ts";
import { newActor, type World } from "#test-cluster/control-sim/world.ts";
import { chance, pick } from "#test-cluster/sim/draw.ts";

type Control = RpcClient<typeof ControlDefinition>;
type Meta = { readonly id: string; readonly meta?: { readonly version: number } | undefined } | undefined;
/** `mark` is written into what is made or changed: it must be found, or never. */
type Operation = (control: Control, mark: string) => Promise<readonly [table: string, object: Meta] | undefined>;

/** The state does not have it, and never will: base/errors.ts. */
const NEVER = new Set([
  "invalid",
  "not_found",
  "name_conflict",
  "conflict",
  "stale_version",
  "exhausted",
  "forbidden",
  "not_leader",
]);
const PATIENCE_MS = 20_000;
const SERVICES = 5;
const NETWORKS = 3;
const CONTAINERS = 4;
const SUBNET_HOSTS = 30;

export type UsersOptions = {
  readonly world: World;
  readonly net: SimNet;
  readonly random: Random;
  readonly managers: readonly SimManager[];
  readonly reference: Reference;
  readonly rules: StateRules;
};

export class Users {
  acknowledged = 0;
  refused = 0;
  readonly #o: UsersOptions;
  #marks = 0;
  /** Highest acknowledged version of an object. */
  readonly #acked = new Map<string, number>();
  readonly #undecided = new Set<string>();
  readonly #never = new Set<string>();

  constructor(options: UsersOptions) {
    this.#o = options;
  }

  /** Marks of refused operations that were committed all the same. */
  checkRefused(): void {
    const { world, rules } = this.#o;
    for (const mark of this.#never) if (rules.marks.has(mark)) world.violate("what is refused never happens", mark);
  }

  act(): void {
    const { random } = this.#o;
    const dice = random.int(100);
    if (dice < 16) this.#do("create service", this.#createService());
    else if (dice < 44) this.#do("update service", this.#updateService());
    else if (dice < 50) this.#do("roll back", this.#rollBack());
    else if (dice < 57) this.#do("remove service", async (c) => void (await c.removeService({ ref: this.#service() })));
    else if (dice < 64) this.#do("create network", this.#createNetwork());
    else if (dice < 68) this.#do("remove network", async (c) => void (await c.removeNetwork({ ref: this.#network() })));
    else if (dice < 76) this.#do("run container", this.#runContainer());
    else if (dice < 79)
      this.#do("stop container", async (c) => ["task", (await c.stopContainer({ ref: this.#container() })).task]);
    else if (dice < 82)
      this.#do(
        "remove container",
        async (c) => void (await c.removeContainer({ ref: this.#container(), force: true })),
      );
    else if (dice < 86) this.#do("connect", async (c) => void (await this.#connect(c)));
    else if (dice < 94) this.#do("change node", this.#changeNode());
    else if (dice < 96) this.#do("remove node", this.#removeNode());
    else this.#do("read", this.#read());
  }

  /** `tsctl node promote` and `demote`. */
  changeRole(): void {
    const { random } = this.#o;
    const ref = pick(random, this.#nodeNames);
    this.#do("change role", async (c) => {
      const { node } = (await c.getNode({ ref })).node!;
      const role = node!.spec!.role === NodeRole.MANAGER ? NodeRole.WORKER : NodeRole.MANAGER;
      const spec = { ...node!.spec!, role };
      return ["node", (await c.updateNode({ id: node!.id, version: node!.meta!.version, spec })).node];
    });
  }

  /**
   * Everything can be reached: nodes take tasks, and no service wants more than there is room for. Nodes that are no host's
   * any more go.
   */
  tidyUp(nodeIds: readonly string[]): void {
    const { reference } = this.#o;
    const { state } = reference;
    for (const node of state.all("node"))
      if (!nodeIds.includes(node.id)) this.#do("clear away node", (c) => this.#clearAway(c, node.id), true);
      else if (node.spec?.availability !== NodeAvailability.ACTIVE)
        this.#do(
          "activate",
          async (c) => {
            const { node: view } = await c.getNode({ ref: node.id });
            const found = view!.node!;
            const spec = { ...found.spec!, availability: NodeAvailability.ACTIVE };
            return ["node", (await c.updateNode({ id: found.id, version: found.meta!.version, spec })).node];
          },
          true,
        );
    for (const service of state.all("service")) {
      const { spec, pendingDelete } = service;
      if (pendingDelete || spec === undefined) continue;
      const most = spec.ports.some((port) => port.mode === PortMode.HOST) ? 1 : 3;
      if (spec.replicas <= most) continue;
      this.#do(
        "scale down",
        async (c) => {
          const { service: found } = await c.getService({ ref: service.id });
          const scaled = { ...found!.spec!, replicas: most };
          const { service: made } = await c.updateService({
            ...{ id: found!.id, version: found!.meta!.version, spec: scaled, rollback: false },
          });
          return ["service", made];
        },
        true,
      );
    }
  }

  get #nodeNames(): string[] {
    return [...this.#o.reference.state.all("node")].map((node) => node.description?.hostname ?? node.id);
  }

  #service = (): string => `s${this.#o.random.int(SERVICES)}`;
  #network = (): string => `n${this.#o.random.int(NETWORKS)}`;
  #container = (): string => `c${this.#o.random.int(CONTAINERS)}`;

  /** @param calm whether it has a manager that is sure to answer */
  #do(what: string, operation: Operation, calm = false): void {
    const { world, net, random, managers, reference } = this.#o;
    const alive = managers.filter((m) => m.alive && (!calm || m.leading));
    if (alive.length === 0) return;
    const { host } = pick(random, alive);
    const mark = `op${++this.#marks}`;
    const actor = newActor(mark);
    const control = createClient(ControlDefinition, net.dial({ host, actor, peer: undefined }, localAddress(host)));
    this.#undecided.add(mark);
    world.note(`${mark} ${what} by ${host}`);
    world.time.after(0, actor, () => {
      operation(control, mark)
        .then(
          (made) => {
            this.acknowledged++;
            if (made?.[1] === undefined) return;
            const [table, object] = made;
            const version = object!.meta?.version ?? 0;
            const key = `${table}/${object!.id}`;
            if (!reference.known.has(`${key}@${version}`))
              world.violate(
                "what is acknowledged has happened",
                `${mark} ${what}: ${key} at ${version} was never committed`,
              );
            this.#acked.set(key, Math.max(version, this.#acked.get(key) ?? 0));
            world.note(`${mark} is acknowledged`);
          },
          (thrown) => {
            const error = TswarmError.from(thrown);
            world.note(`${mark}: ${error.code}`);
            if (error.code === "internal") world.violate("no operation fails by itself", `${what}: ${error.stack}`);
            if (!NEVER.has(error.code)) return;
            this.refused++;
            this.#never.add(mark);
          },
        )
        .finally(() => this.#undecided.delete(mark));
      // A user who waits no longer; the connection goes with the process.
      world.time.after(PATIENCE_MS, world.time.world, () => {
        actor.dead = true;
        net.died(actor);
      });
    });
  }

  #attachments(pins: boolean): DeepPartial<NetworkAttachmentConfig>[] {
    const { random, reference } = this.#o;
    const networks = [...reference.state.all("network")].filter((n) => /^n\d$/.test(n.spec?.annotations?.name ?? ""));
    if (networks.length === 0 || chance(random, 0.2)) return [];
    const chosen = networks.filter(() => chance(random, 0.6));
    return (chosen.length > 0 ? chosen : [networks[0]!]).map((network) => {
      const base = network.subnets[0]?.subnet.replace(/\.\d+\/\d+$/, "");
      const ipv4 =
        !pins || base === undefined ? [] : [1, 2, 3].map((i) => `${base}.${SUBNET_HOSTS - i - 3 * random.int(2)}`);
      return { target: network.spec!.annotations!.name, ipv4 };
    });
  }

  #spec(name: string, mark: string): ServiceSpec {
    const { random } = this.#o;
    const order = pick(random, [UpdateOrder.STOP_FIRST, UpdateOrder.START_FIRST]);
    const published = 8000 + Number(name.slice(1));
    const ports = pick(random, [
      [],
      [],
      [{ published, target: 80, mode: PortMode.INGRESS }],
      [{ published: 0, target: 81, mode: PortMode.INGRESS }],
      order === UpdateOrder.STOP_FIRST ? [{ published: 9000 + random.int(3), target: 80, mode: PortMode.HOST }] : [],
    ]);
    const pins = order === UpdateOrder.STOP_FIRST && chance(random, 0.25);
    const config = {
      ...{ parallelism: random.int(3), delayMs: pick(random, [0, 500]), monitorMs: pick(random, [500, 2000]), order },
      maxFailureRatio: pick(random, [0, 0.5]),
    };
    const failureAction = pick(random, [
      FailureAction.FAILURE_PAUSE,
      FailureAction.FAILURE_CONTINUE,
      FailureAction.FAILURE_ROLLBACK,
    ]);
    return ServiceSpec.fromPartial({
      annotations: { name },
      replicas: random.int(6),
      ports,
      update: { ...config, failureAction },
      rollback: { ...config, failureAction: FailureAction.FAILURE_CONTINUE },
      task: {
        container: { image: IMAGE, env: { op: mark }, stopGraceMs: 1_000 },
        networks: this.#attachments(pins),
        drainMs: pick(random, [0, 500, 3_000]),
        restart: {
          condition: pick(random, [
            RestartCondition.RESTART_ANY,
            RestartCondition.RESTART_ANY,
            RestartCondition.RESTART_ANY,
            RestartCondition.RESTART_ON_FAILURE,
            RestartCondition.RESTART_NONE,
          ]),
          delayMs: pick(random, [1, 300, 2_000]),
        },
      },
    });
  }

  #createService(): Operation {
    const name = this.#service();
    return async (control, mark) => [
      "service",
      (await control.createService({ spec: this.#spec(name, mark) })).service,
    ];
  }

  #updateService(): Operation {
    const { random } = this.#o;
    const name = this.#service();
    return async (control, mark) => {
      const { service } = await control.getService({ ref: name });
      const spec = chance(random, 0.5) ? { ...service!.spec!, replicas: random.int(6) } : this.#spec(name, mark);
      const { service: made } = await control.updateService({
        ...{ id: service!.id, version: service!.meta!.version, spec, rollback: false },
      });
      return ["service", made];
    };
  }

  #rollBack(): Operation {
    const name = this.#service();
    return async (control) => {
      const { service } = await control.getService({ ref: name });
      const { service: made } = await control.updateService({
        ...{ id: service!.id, version: service!.meta!.version, spec: undefined, rollback: true },
      });
      return ["service", made];
    };
  }

  #createNetwork(): Operation {
    const { random } = this.#o;
    const name = this.#network();
    const subnet = `10.7${name.slice(1)}.0.0/27`;
    const driver = pick(random, ["overlay", "overlay", "bridge"]);
    return async (control, mark) => {
      const spec = NetworkSpec.fromPartial({
        annotations: { name, labels: { op: mark } },
        ...{ driver, attachable: true, ipam: [{ subnet }] },
      });
      return ["network", (await control.createNetwork({ spec })).network];
    };
  }

  #runContainer(): Operation {
    const { random } = this.#o;
    const name = this.#container();
    const node = chance(random, 0.5) ? "" : pick(random, this.#nodeNames);
    const networks = this.#attachments(false);
    return async (control, mark) => {
      const spec = TaskSpec.fromPartial({
        container: { image: IMAGE, env: { op: mark }, stopGraceMs: 1_000 },
        networks,
      });
      return ["task", (await control.runContainer({ name, node, spec, ports: [] })).task];
    };
  }

  async #connect(control: Control): Promise<void> {
    const { random } = this.#o;
    const [network, task] = [this.#network(), this.#container()];
    if (chance(random, 0.6)) await control.connectNetwork({ network, task, config: undefined });
    else await control.disconnectNetwork({ network, task, force: false });
  }

  /** A manager is demoted first. */
  async #clearAway(control: Control, ref: string): Promise<undefined> {
    const { node } = (await control.getNode({ ref })).node!;
    if (node!.spec!.role === NodeRole.MANAGER) {
      const spec = { ...node!.spec!, role: NodeRole.WORKER };
      await control.updateNode({ id: node!.id, version: node!.meta!.version, spec });
    }
    await control.removeNode({ ref, force: true });
  }

  #changeNode(): Operation {
    const { random } = this.#o;
    const ref = pick(random, this.#nodeNames);
    const availability = pick(random, [
      NodeAvailability.ACTIVE,
      NodeAvailability.ACTIVE,
      NodeAvailability.DRAIN,
      NodeAvailability.PAUSE,
    ]);
    return async (control, mark) => {
      const { node } = (await control.getNode({ ref })).node!;
      const annotations = { name: "", labels: { op: mark } };
      const spec = { ...node!.spec!, annotations, availability };
      return ["node", (await control.updateNode({ id: node!.id, version: node!.meta!.version, spec })).node];
    };
  }

  #removeNode(): Operation {
    const { random, reference } = this.#o;
    const workers = [...reference.state.all("node")].filter(
      (n) => n.spec?.role === NodeRole.WORKER && n.status?.state !== NodeState.NODE_STATE_UNKNOWN,
    );
    const node = pick(random, workers);
    return async (control) => {
      if (node === undefined || workers.length < 2) return undefined;
      await control.removeNode({ ref: node.id, force: chance(random, 0.7) });
      return undefined;
    };
  }

  /** A read sees everything that was acknowledged before it was asked. */
  #read(): Operation {
    return async (control) => {
      const before = new Map(this.#acked);
      const { services } = await control.listServices({ filters: [] });
      for (const { service } of services) {
        const version = before.get(`service/${service!.id}`) ?? 0;
        if ((service!.meta?.version ?? 0) < version)
          this.#o.world.violate(
            "reads are not stale",
            `service ${service!.id}: ${service!.meta?.version}, not ${version}`,
          );
      }
      return undefined;
    };
  }
}
