import type { Verb } from "#tsctl/cli.ts";
import { type ListOptions, listOptions, printList, shortId, toFilters } from "#tsctl/output/list.ts";
import { naturalOrder } from "#tsctl/output/natural-order.ts";

/** As in Docker: none, and a template that is for any driver. */
const shownDriver = (driver: string): string => (driver === "none" || driver === "" ? "null" : driver);

const LAYOUT = {
  headers: {
    ID: "NETWORK ID",
    Name: "NAME",
    Driver: "DRIVER",
    Scope: "SCOPE",
    Subnets: "SUBNETS",
    VNI: "VNI",
    Internal: "INTERNAL",
    IPv6: "IPV6",
  },
  columns: ["ID", "Name", "Driver", "Scope"],
  key: "ID",
};

export const networkLs: Verb = (noun, cli) =>
  listOptions(
    noun.command("ls").alias("list").description("List the networks"),
    "id, name, driver, label, scope, type, dangling",
  ).action(async (options: ListOptions) => {
    const filters = toFilters(options.filter);
    const { networks } = await (await cli.control()).listNetworks({ filters });
    const rows = networks
      .map((network) => ({
        ID: shortId(network.id, options),
        Name: network.spec?.annotations?.name ?? "",
        Driver: shownDriver(network.spec?.driver ?? ""),
        Scope: network.spec?.driver === "overlay" ? "swarm" : "local",
        IPv6: network.spec?.ipv6 ?? false,
        Internal: network.spec?.internal ?? false,
        Subnets: network.subnets.map((s) => s.subnet).join(","),
        VNI: network.vni,
        CreatedAt: new Date(network.meta?.createdAt ?? 0).toISOString(),
      }))
      .sort((a, b) => naturalOrder(a.Name, b.Name));
    printList(cli, LAYOUT, rows, options);
  });
