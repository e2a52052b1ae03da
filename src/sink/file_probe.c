/*-------------------------------------------------------------------------
 * file_probe.c
 *		Where a file sink writes, who may, and whether it can; see
 *		file_probe.h.
 *
 * The probe's thread and the main thread share one malloc'ed struct; whoever
 * lets go of it last frees it, so a disk that hangs costs a thread until it
 * answers and nothing else.  Thread functions are marked; they touch that
 * struct and the disk only.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/guc.h"
#include "common/file_perm.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "sink/file_probe.h"
#include "sink/file_writer.h"

#define SLICE_MS		50		/* between looks for interrupts */

typedef struct Probe
{
	int			owners;			/* threads that may still use it */
	int			event_fd;
	mode_t		mode;			/* of directories to make */
	pid_t		pid;
	char		dir[MAXPGPATH];

	/* Result, complete when event_fd is readable. */
	const char *what;			/* NULL: it works */
	int			err;
	char		path[MAXPGPATH + 64];
} Probe;

/* Is ".." one of the components of a path? */
static bool
goes_up(const char *path)
{
	for (const char *p = path; (p = strstr(p, "..")) != NULL; p += 2)
	{
		if ((p == path || p[-1] == '/') && (p[2] == '\0' || p[2] == '/'))
			return true;
	}
	return false;
}

/* cdc_sink.file_root, or its default, canonical. */
static char *
file_root(void)
{
	char	   *root;

	if (cdc_file_root == NULL || cdc_file_root[0] == '\0')
		root = psprintf("%s/cdc_sink", DataDir);
	else if (is_absolute_path(cdc_file_root))
		root = pstrdup(cdc_file_root);
	else
		root = psprintf("%s/%s", DataDir, cdc_file_root);
	canonicalize_path(root);
	return root;
}

char *
cdc_file_dir(const CdcUri *uri)
{
	char	   *dir;

	if (goes_up(uri->path))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("path of a %s sink must not contain \"..\"", uri->scheme)));
	for (const char *p = uri->path; *p; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("path of a %s sink must not contain control characters",
							uri->scheme)));
	}
	if (strcmp(uri->scheme, "file") != 0)
	{
		if (strcmp(uri->hosts, "1") != 0 && strcmp(uri->hosts, "self") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("host of a nodelocal sink must be \"self\" or 1, not \"%s\"",
							uri->hosts),
					 errhint("Write nodelocal://self/directory.")));
		dir = psprintf("%s/%s", file_root(), uri->path);
	}
	else
	{
		if (uri->hosts[0] != '\0' && strcmp(uri->hosts, "localhost") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("file sink cannot write to host \"%s\"", uri->hosts),
					 errhint("Write file:///directory for an absolute path, or nodelocal://self/directory.")));
		dir = pstrdup(uri->path);
	}
	canonicalize_path(dir);
	if (!is_absolute_path(dir) || strcmp(dir, "/") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("file sink needs a directory"),
				 errhint("Write file:///directory or nodelocal://self/directory.")));
	if (strlen(dir) >= MAXPGPATH)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("path of a %s sink is too long", uri->scheme)));
	return dir;
}

/*
 * A path without symbolic links, of which the last components may not exist
 * yet.  palloc'ed; NULL: it cannot be told.
 */
static char *
real_path(const char *path)
{
	char	   *head = pstrdup(path);
	char	   *tail;
	char	   *real;
	char	   *result;

	while ((real = realpath(head, NULL)) == NULL)
	{
		struct stat st;
		char	   *slash = strrchr(head, '/');

		/* only what is really not there; a dangling link may go anywhere */
		if (errno != ENOENT || lstat(head, &st) == 0 || slash == NULL)
			return NULL;
		if (slash == head)
			return pstrdup(path);
		*slash = '\0';
	}
	tail = pstrdup(path + strlen(head));
	result = psprintf("%s%s", strcmp(real, "/") == 0 ? "" : real, tail);
	free(real);
	return result;
}

void
cdc_file_check_access(const char *dir)
{
	char	   *root;
	char	   *real;

	if (superuser())
		return;
	root = real_path(file_root());
	real = real_path(dir);
	if (root == NULL || real == NULL ||
		strncmp(real, root, strlen(root)) != 0 ||
		(real[strlen(root)] != '/' && real[strlen(root)] != '\0'))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser to write changefeed files outside of cdc_sink.file_root"),
				 errhint("Use a sink of the form nodelocal://self/directory.")));
}

/* Runs: probe thread. */
static bool
probe_failed(Probe *probe, const char *what, const char *path)
{
	probe->err = errno;
	probe->what = what;
	if (path != probe->path)
		strlcpy(probe->path, path, sizeof(probe->path));
	return false;
}

/* Syncs a directory; some file systems cannot.  Runs: probe thread. */
static bool
sync_directory(const char *path)
{
	int			fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool		ok;

	if (fd < 0)
		return false;
	ok = fsync(fd) == 0 || errno == EBADF || errno == EINVAL;
	close(fd);
	return ok;
}

/* Makes dir and what is missing above it, durably.  Runs: probe thread. */
static bool
make_directories(Probe *probe)
{
	char		path[MAXPGPATH];

	for (char *p = probe->dir + 1;; p++)
	{
		char	   *slash;

		if (*p != '/' && *p != '\0')
			continue;
		memcpy(path, probe->dir, p - probe->dir);
		path[p - probe->dir] = '\0';
		if (mkdir(path, probe->mode) == 0)
		{
			slash = strrchr(path, '/');
			slash[slash == path ? 1 : 0] = '\0';
			if (!sync_directory(path))
				return probe_failed(probe, "could not fsync directory", path);
		}
		else if (errno != EEXIST)
		{
			struct stat st;
			int			err = errno;

			/* EROFS or EACCES above a mount point is no trouble */
			if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
			{
				errno = err;
				return probe_failed(probe, "could not create directory", path);
			}
		}
		if (*p == '\0')
			return true;
	}
}

/* Runs: probe thread. */
static void
try_directory(Probe *probe)
{
	char	   *path = probe->path;
	char		number[24];
	char	   *digit = number + sizeof(number) - 1;
	int			fd;

	if (!make_directories(probe))
		return;
	*digit = '\0';
	for (unsigned int n = probe->pid; n > 0; n /= 10)
		*--digit = '0' + n % 10;
	strlcpy(path, probe->dir, sizeof(probe->path));
	strlcat(path, "/" CDC_FILE_TMP_PREFIX "probe-", sizeof(probe->path));
	strlcat(path, digit, sizeof(probe->path));
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			  S_IRUSR | S_IWUSR);
	if (fd < 0)
	{
		probe_failed(probe, "could not create file", path);
		return;
	}
	/* who writes less says nothing, but it is for want of room */
	errno = ENOSPC;
	if (write(fd, "probe\n", 6) != 6)
		probe_failed(probe, "could not write file", path);
	else if (fsync(fd) != 0)
		probe_failed(probe, "could not fsync file", path);
	close(fd);
	if (unlink(path) != 0 && probe->what == NULL)
		probe_failed(probe, "could not remove file", path);
	else if (!sync_directory(probe->dir) && probe->what == NULL)
		probe_failed(probe, "could not fsync directory", probe->dir);
}

/* Runs: either thread. */
static void
probe_release(Probe *probe)
{
	if (__atomic_sub_fetch(&probe->owners, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	close(probe->event_fd);
	free(probe);
}

/* Runs: probe thread. */
static void *
probe_main(void *arg)
{
	Probe	   *probe = arg;
	uint64		one = 1;

	try_directory(probe);
	while (write(probe->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	probe_release(probe);
	return NULL;
}

/* Waits for the thread's answer; false: none within the time. */
static bool
wait_for_answer(Probe *probe, int timeout_ms)
{
	instr_time	start;
	struct pollfd pfd = {.fd = probe->event_fd, .events = POLLIN};

	INSTR_TIME_SET_CURRENT(start);
	for (;;)
	{
		instr_time	now;
		uint64		count;

		/* reading it orders what the thread wrote before */
		if (poll(&pfd, 1, SLICE_MS) > 0 &&
			read(probe->event_fd, &count, sizeof(count)) == sizeof(count))
			return true;
		CHECK_FOR_INTERRUPTS();
		INSTR_TIME_SET_CURRENT(now);
		INSTR_TIME_SUBTRACT(now, start);
		if (INSTR_TIME_GET_MILLISEC(now) >= timeout_ms)
			return false;
	}
}

bool
cdc_file_probe(const char *dir, int timeout_ms, char *error, size_t error_size)
{
	Probe	   *probe = calloc(1, sizeof(Probe));
	pthread_t	thread;
	volatile bool answered = false;
	bool		ok;
	int			rc;

	if (probe == NULL)
	{
		strlcpy(error, "out of memory", error_size);
		return false;
	}
	probe->owners = 2;
	probe->mode = pg_dir_create_mode;
	probe->pid = getpid();
	strlcpy(probe->dir, dir, sizeof(probe->dir));
	probe->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (probe->event_fd < 0)
	{
		snprintf(error, error_size, "could not create an eventfd: %m");
		free(probe);
		return false;
	}
	rc = cdc_file_thread_start(&thread, probe_main, probe);
	if (rc != 0)
	{
		snprintf(error, error_size, "could not start a thread: %s", strerror(rc));
		close(probe->event_fd);
		free(probe);
		return false;
	}
	pthread_detach(thread);

	PG_TRY();
	{
		answered = wait_for_answer(probe, timeout_ms);
	}
	PG_CATCH();
	{
		probe_release(probe);
		PG_RE_THROW();
	}
	PG_END_TRY();

	if (!answered)
		snprintf(error, error_size, "directory \"%.300s\" did not answer within %d ms",
				 dir, timeout_ms);
	else if (probe->what != NULL)
		snprintf(error, error_size, "%s \"%.300s\": %s", probe->what,
				 probe->path, strerror(probe->err));
	ok = answered && probe->what == NULL;
	probe_release(probe);
	return ok;
}
