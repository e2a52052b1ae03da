/*
 * small_disk.c
 *		Library to be loaded before others (LD_PRELOAD): files below the folder
 *		SMALL_DISK find no room beyond SMALL_DISK_ROOM bytes each while there is
 *		a file SMALL_DISK_FULL.  As on a real disk the last write that fits is
 *		cut short.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* How many bytes there is room for; -1: as many as you like. */
static long
room(int fd)
{
	const char *disk = getenv("SMALL_DISK");
	const char *full = getenv("SMALL_DISK_FULL");
	const char *limit = getenv("SMALL_DISK_ROOM");
	char		name[64];
	char		path[4096];
	struct stat st;
	ssize_t		n;
	int			err = errno;
	long		left = -1;

	if (disk != NULL && full != NULL && limit != NULL && access(full, F_OK) == 0)
	{
		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		n = readlink(name, path, sizeof(path) - 1);
		if (n > 0 && strncmp(path, disk, strlen(disk)) == 0 && fstat(fd, &st) == 0)
			left = st.st_size < atol(limit) ? atol(limit) - st.st_size : 0;
	}
	errno = err;
	return left;
}

ssize_t
write(int fd, const void *data, size_t len)
{
	ssize_t		(*real) (int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
	long		left = room(fd);

	if (left == 0)
	{
		errno = ENOSPC;
		return -1;
	}
	return real(fd, data, left > 0 && (size_t) left < len ? (size_t) left : len);
}

ssize_t
writev(int fd, const struct iovec *vec, int n)
{
	ssize_t		(*real) (int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");

	if (n > 0 && room(fd) >= 0)
		return write(fd, vec[0].iov_base, vec[0].iov_len);
	return real(fd, vec, n);
}
