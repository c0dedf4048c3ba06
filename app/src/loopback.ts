/** Whether only programs of this machine reach what is bound to a host. */
export const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || host.startsWith('127.');
