import { eachAtOnce, MqttClient, type PacketListener, sourceAddress } from './client.ts';
import type { HoldFigures, HoldPlan, Identity } from './plan.ts';

const AT_ONCE = 32;

/** Opens idle connections, as many as the system lets, and keeps them while the process lives. */
export async function hold(plan: HoldPlan): Promise<HoldFigures> {
  let problem: string | null = null;
  let held = 0;
  const listener: PacketListener = {
    packet() {},
    readEnd() {},
    lost() {
      held--;
    },
  };
  const clients = Array.from({ length: plan.connections }, (_, index) => new MqttClient(index, listener));
  await eachAtOnce(clients, AT_ONCE, async (client) => {
    if (problem !== null) return;
    const identity = plan.identities[client.index % plan.identities.length] as Identity;
    const options = {
      clientId: `idle-${client.index}`,
      localAddress: sourceAddress(client.index),
      keepAliveS: 3_600,
    };
    try {
      await client.open(plan.endpoint, identity, options);
      held++;
    } catch (error) {
      client.destroy();
      problem = error instanceof Error ? error.message : String(error);
    }
  });
  return { held, problem };
}
