/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_keys.h - every configuration key: one line each, included by config.c only.
 *
 * A device adds its keys here.  { key, type, default, choices, min, max, help }
 */
{ "name", CONFIG_STRING, NULL, NULL, 0, 0, "guest name; default made from that of the disk or kernel" },
{ "cpus", CONFIG_INT, "1", NULL, 1, 64, "number of virtual CPUs" },
{ "memory", CONFIG_SIZE, "512M", NULL, 1 << 20, 1ULL << 40, "guest memory" },
{ "memory_backend", CONFIG_ENUM, "memfd", "memfd anonymous", 0, 0, "where guest memory lives" },
{ "kernel", CONFIG_STRING, NULL, NULL, 0, 0, "bzImage, ELF with PVH note, or multiboot image" },
{ "initrd", CONFIG_STRING, NULL, NULL, 0, 0, "initial RAM disk, or first multiboot module" },
{ "cmdline", CONFIG_STRING, NULL, NULL, 0, 0, "kernel command line" },
{ "cmdline_exact", CONFIG_BOOL, "false", NULL, 0, 0, "add neither console= nor root= to cmdline" },
{ "module.#", CONFIG_STRING, NULL, NULL, 0, 0, "multiboot module: FILE [arguments]" },
{ "console", CONFIG_STRING, "stdio", NULL, 0, 0, "stdio, none, or socket=PATH" },
{ "disk.#.path", CONFIG_STRING, NULL, NULL, 0, 0, "raw image file or block device" },
{ "disk.#.readonly", CONFIG_BOOL, "false", NULL, 0, 0, "refuse writes" },
{ "disk.#.direct", CONFIG_BOOL, "true", NULL, 0, 0, "O_DIRECT where the file system can" },
{ "net.#.type", CONFIG_ENUM, "none", "none tap user", 0, 0, "back end of the network device" },
{ "net.#.interface", CONFIG_STRING, NULL, NULL, 0, 0, "name of the tap interface" },
{ "net.#.mac", CONFIG_STRING, NULL, NULL, 0, 0, "MAC address; default derived from the name" },
{ "net.#.hostfwd.#", CONFIG_STRING, NULL, NULL, 0, 0, "tcp|udp:HOSTPORT:GUESTPORT (type user)" },
{ "rng", CONFIG_BOOL, "true", NULL, 0, 0, "virtio entropy device" },
{ "virtio_console", CONFIG_BOOL, "false", NULL, 0, 0, "console on virtio too (hvc0)" },
{ "reboot", CONFIG_ENUM, "restart", "restart exit", 0, 0, "what a guest reboot does" },
{ "memory_fault", CONFIG_ENUM, "stop", "stop pause", 0, 0, "what an unserviceable access does" },
{ "debug.port402", CONFIG_BOOL, "false", NULL, 0, 0, "debug console at port 0x402" },
{ "debug.exit", CONFIG_BOOL, "false", NULL, 0, 0, "exit port 0xf4 (isa-debug-exit)" },
{ "debug.testdev", CONFIG_BOOL, "false", NULL, 0, 0, "test device ports 0xe0-0xeb, 0x2000" },
