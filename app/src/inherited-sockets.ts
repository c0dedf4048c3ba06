/** The first descriptor that a service manager hands over.  @source sd_listen_fds(3) */
const FIRST = 3;

/** The sockets of a name that a service manager (systemd) opened for this process; all of them if it names none.
 *  @returns file descriptors */
export function inheritedSockets(
  name: string,
  environment: Readonly<Record<string, string | undefined>> = process.env,
  pid = process.pid,
): number[] {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES } = environment;
  // They are for another process: a parent's environment was passed on.
  if (LISTEN_PID !== String(pid)) return [];
  const count = Number(LISTEN_FDS);
  if (!Number.isInteger(count) || count < 1 || count > 1_024) return [];
  const names = LISTEN_FDNAMES?.split(':') ?? [];
  const all = Array.from({ length: count }, (_, index) => FIRST + index);
  return names.includes(name) ? all.filter((_fd, index) => names[index] === name) : all;
}
