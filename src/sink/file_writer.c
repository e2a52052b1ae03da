/*-------------------------------------------------------------------------
 * file_writer.c
 *		The thread that writes the files of one file sink; see file_writer.h.
 *
 * The writer and everything it points to is malloc'ed.  Its lists, flags and
 * "trouble" belong to its mutex; a part belongs to the thread from the
 * moment it is taken from the queue until it is in the list of done ones.
 * The thread reads the rows out of the batches but never touches a batch
 * itself: references are taken and given back on the main thread.
 *
 * A part whose fsync failed is written anew from the rows: what the kernel
 * still has of it cannot be trusted, and a second fsync may report success
 * for pages that were dropped.  The parts before it were synced and their rows
 * are gone: a file that has lost them is lost, and with it the sink.
 *
 * Thread functions are marked "Runs: writer thread": plain C and system calls
 * only, nothing of the server (no palloc, elog, latches, not even its
 * strerror); all signals are blocked.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "sink/closing.h"
#include "sink/file_writer.h"

#define FIRST_DELAY_MS		100
#define MAX_DELAY_MS		30000
#define ROWS_PER_WRITE		256
#define THREAD_STACK		(256 * 1024)

/* ".tmp-", job, "-", session, "-", serial, zero */
#define TMP_NAME_SIZE		(sizeof(CDC_FILE_TMP_PREFIX) + 20 + 1 + 16 + 1 + 8)

struct CdcFileWriter
{
	CdcClosing	closing;		/* first member: reap gets this pointer */
	int64		job_id;
	uint64		session;
	pthread_t	thread;
	pthread_mutex_t mutex;
	pthread_cond_t wake;		/* stop, or something in the queue */
	int			event_fd;

	/* Fixed once the thread runs. */
	char		dir[MAXPGPATH];
	char		tmp_job[TMP_NAME_SIZE]; /* ".tmp-<job>-" */
	char		tmp_session[TMP_NAME_SIZE]; /* and "<session>-" */

	/* Under the mutex. */
	bool		stop;
	bool		news;			/* event_fd is readable */
	dlist_head	queue;			/* CdcObjPart */
	dlist_head	done;			/* CdcObjPart */
	CdcFileTrouble trouble;

	/* The main thread's own. */
	dlist_head	dropped;		/* CdcObject, freed in the end */

	/* The thread's own. */
	CdcObjPart *current;		/* its object is freed by the main thread */
	char		tmp_name[TMP_NAME_SIZE];	/* of its file */
	char		synced_dir[CDC_OBJNAME_DIR_SIZE];	/* is durable */
	const char *fail_what;
	const char *fail_name;		/* below dir, NULL: dir itself */
	int			fail_err;
	bool		fail_lost;
};

/* Runs: writer thread. */
static bool
stopped(CdcFileWriter *w)
{
	bool		stop;

	pthread_mutex_lock(&w->mutex);
	stop = w->stop;
	pthread_mutex_unlock(&w->mutex);
	return stop;
}

/* Runs: writer thread. */
static bool
failed(CdcFileWriter *w, const char *what, const char *name)
{
	w->fail_err = errno;
	w->fail_what = what;
	w->fail_name = name;
	return false;
}

/* Some file systems cannot sync a directory; that is no failure. */
static bool
sync_dir(int fd)
{
	return fsync(fd) == 0 || errno == EBADF || errno == EINVAL;
}

/*
 * Opens the directory for the date part of a name below base_fd, made as far
 * as it is missing and as open to others as the sink's directory.  Returns a
 * descriptor, -1 on failure.  Runs: writer thread.
 */
static int
open_date_dir(CdcFileWriter *w, int base_fd, mode_t mode, const char *name)
{
	const char *end = strrchr(name, '/');
	size_t		len = end ? end + 1 - name : 0;
	bool		sync;
	int			fd;

	sync = strlen(w->synced_dir) != len || strncmp(w->synced_dir, name, len) != 0;
	fd = fcntl(base_fd, F_DUPFD_CLOEXEC, 0);
	for (const char *p = name; fd >= 0 && p < name + len;)
	{
		const char *slash = strchr(p, '/');
		char		part[CDC_OBJNAME_DIR_SIZE];
		bool		made;
		int			child;

		memcpy(part, p, slash - p);
		part[slash - p] = '\0';
		p = slash + 1;
		made = mkdirat(fd, part, S_IRWXU) == 0;
		if ((!made && errno != EEXIST) ||
			(child = openat(fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0 ||
			(made && fchmod(child, mode) != 0) ||
			(sync && !sync_dir(fd)))
		{
			failed(w, "could not create directory for file", name);
			close(fd);
			return -1;
		}
		close(fd);
		fd = child;
	}
	if (fd < 0)
		failed(w, "could not open directory", NULL);
	else
	{
		memcpy(w->synced_dir, name, len);
		w->synced_dir[len] = '\0';
	}
	return fd;
}

/* Writes the rows of a part at the descriptor's place.  Runs: writer thread. */
static bool
write_rows(CdcFileWriter *w, int fd, const CdcObjPart *part)
{
	struct iovec vec[ROWS_PER_WRITE * 2];
	uint32		next = 0;

	while (next < part->nrows)
	{
		struct iovec *v = vec;
		int			n = 0;

		if (stopped(w))
		{
			errno = ECANCELED;
			return false;
		}
		for (; next < part->nrows && n < lengthof(vec) - 1; next++)
		{
			vec[n].iov_base = unconstify(char *, part->rows[next].data);
			vec[n++].iov_len = part->rows[next].len;
			if (part->newlines)
			{
				vec[n].iov_base = "\n";
				vec[n++].iov_len = 1;
			}
		}
		while (n > 0)
		{
			ssize_t		done = writev(fd, v, n);

			if (done < 0 && errno == EINTR)
				continue;
			if (done < 0)
				return false;
			while (n > 0 && (size_t) done >= v->iov_len)
			{
				done -= v->iov_len;
				v++;
				n--;
			}
			if (n > 0)
			{
				v->iov_base = (char *) v->iov_base + done;
				v->iov_len -= done;
			}
		}
	}
	return true;
}

/*
 * The temporary file, up to where the part begins; -1 on failure.
 * Runs: writer thread.
 */
static int
open_tmp(CdcFileWriter *w, int base_fd, mode_t mode, const CdcObjPart *part)
{
	struct stat st;
	int			fd;

	if (part->offset == 0)
	{
		/* left by the attempt before, if that could not remove it */
		unlinkat(base_fd, w->tmp_name, 0);
		fd = openat(base_fd, w->tmp_name,
					O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
		if (fd < 0)
			failed(w, "could not create file", w->tmp_name);
		else if (fchmod(fd, mode) == 0)
			return fd;
		else
			failed(w, "could not write file", w->tmp_name);
	}
	else
	{
		fd = openat(base_fd, w->tmp_name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) != 0)
		{
			w->fail_lost = errno == ENOENT;
			failed(w, "could not open file", w->tmp_name);
		}
		else if (!S_ISREG(st.st_mode) || (uint64) st.st_size < part->offset)
		{
			errno = EIO;
			w->fail_lost = true;
			failed(w, "something is missing in file", w->tmp_name);
		}
		else if (ftruncate(fd, (off_t) part->offset) == 0 &&
				 lseek(fd, (off_t) part->offset, SEEK_SET) >= 0)
			return fd;
		else
			failed(w, "could not write file", w->tmp_name);
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

/* The temporary file with the part, on disk.  Runs: writer thread. */
static bool
write_tmp(CdcFileWriter *w, int base_fd, mode_t mode, const CdcObjPart *part)
{
	int			fd = open_tmp(w, base_fd, mode, part);

	if (fd < 0)
		return false;
	if (!write_rows(w, fd, part))
		failed(w, "could not write file", w->tmp_name);
	else if (fsync(fd) != 0)
		failed(w, "could not fsync file", w->tmp_name);
	if (close(fd) != 0 && w->fail_err == 0)
		failed(w, "could not close file", w->tmp_name);
	return w->fail_err == 0;
}

/* Gives a complete file its own name.  Runs: writer thread. */
static void
publish_file(CdcFileWriter *w, int base_fd, mode_t mode, const CdcObject *object)
{
	const char *slash = strrchr(object->name, '/');
	const char *final = slash ? slash + 1 : object->name;
	int			dir_fd = open_date_dir(w, base_fd, mode, object->name);

	if (dir_fd < 0)
		return;

	/*
	 * A file of a closed sink may not show up late: its successor sends the
	 * rows again and may have promised that nothing comes any more.
	 */
	errno = ECANCELED;
	if (stopped(w) ||
		renameat(base_fd, w->tmp_name, dir_fd, final) != 0)
		failed(w, "could not rename file to", object->name);
	else if (!sync_dir(dir_fd))
		failed(w, "could not fsync directory of file", object->name);
	close(dir_fd);
}

/*
 * Makes one part durable, with the last its file under its name.
 * Runs: writer thread.
 */
static bool
write_part(CdcFileWriter *w, const CdcObjPart *part)
{
	struct stat st;
	int			base_fd;

	w->fail_err = 0;
	w->fail_lost = false;
	snprintf(w->tmp_name, sizeof(w->tmp_name), "%s%08x", w->tmp_session,
			 part->object->serial);

	/*
	 * Opened each time: somebody may have moved or remounted it.  It is not
	 * made again, lest files go below a mount point whose disk is missing.
	 */
	base_fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (base_fd < 0)
		return failed(w, "could not open directory", NULL);
	if (fstat(base_fd, &st) != 0)
		failed(w, "could not stat directory", NULL);
	else if (write_tmp(w, base_fd, (st.st_mode & 0644) | S_IRUSR | S_IWUSR, part) &&
			 part->last)
		publish_file(w, base_fd, (st.st_mode & 0755) | S_IRWXU, part->object);
	if (w->fail_err != 0)
	{
		if (part->offset == 0)
			unlinkat(base_fd, w->tmp_name, 0);
		w->synced_dir[0] = '\0';
	}
	close(base_fd);
	return w->fail_err == 0;
}

/*
 * Is it a temporary file of an earlier run?  Others may write into the same
 * directory, jobs of other databases and clusters with the same number among
 * them: the session tells.  Runs: writer thread.
 */
static bool
is_former(const CdcFileWriter *w, const char *name)
{
	size_t		len = strlen(w->tmp_job);
	uint64		session;

	return strncmp(name, w->tmp_job, len) == 0 &&
		cdc_objname_parse_session(name + len, &session) &&
		cdc_objname_is_former(session, w->session);
}

/* Runs: writer thread. */
static bool
is_own(const CdcFileWriter *w, const char *name)
{
	return strncmp(name, w->tmp_session, strlen(w->tmp_session)) == 0;
}

/*
 * Removes temporary files: in the beginning what runs of this job that were
 * killed left behind, in the end its own.  Trouble shows soon enough.
 * Runs: writer thread.
 */
static void
sweep(CdcFileWriter *w, bool (*is_ours) (const CdcFileWriter *w, const char *name))
{
	DIR		   *dir = opendir(w->dir);
	struct dirent *entry;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
	{
		if (is_ours(w, entry->d_name))
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	closedir(dir);
}

/* Runs: writer thread, mutex held. */
static void
notify(CdcFileWriter *w)
{
	uint64		one = 1;

	w->news = true;
	while (write(w->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* Tells the main thread what failed.  Runs: writer thread, mutex held. */
static void
report_failure(CdcFileWriter *w)
{
	CdcFileTrouble *t = &w->trouble;
	char	   *p = t->path;
	size_t		len = strlen(w->dir);

	t->count++;
	t->err = w->fail_err;
	t->lost |= w->fail_lost;
	t->what = w->fail_what;
	memcpy(p, w->dir, len + 1);
	if (w->fail_name != NULL)
	{
		p[len] = '/';
		memcpy(p + len + 1, w->fail_name, strlen(w->fail_name) + 1);
	}
}

/* Runs: writer thread, mutex held. */
static void
pause_for(CdcFileWriter *w, int ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (ms % 1000) * 1000000L;
	if (until.tv_nsec >= 1000000000L)
	{
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	while (!w->stop &&
		   pthread_cond_timedwait(&w->wake, &w->mutex, &until) != ETIMEDOUT)
		;
}

/* Runs: writer thread. */
static void *
writer_main(void *arg)
{
	CdcFileWriter *w = arg;
	int			delay = FIRST_DELAY_MS;

	sweep(w, is_former);
	pthread_mutex_lock(&w->mutex);
	while (!w->stop)
	{
		bool		ok;

		if (w->current == NULL)
		{
			if (dlist_is_empty(&w->queue))
			{
				pthread_cond_wait(&w->wake, &w->mutex);
				continue;
			}
			w->current = dlist_container(CdcObjPart, node,
										 dlist_pop_head_node(&w->queue));
		}
		pthread_mutex_unlock(&w->mutex);
		ok = write_part(w, w->current);
		pthread_mutex_lock(&w->mutex);
		if (w->stop)
			break;
		if (ok)
		{
			dlist_push_tail(&w->done, &w->current->node);
			w->current = NULL;
			w->trouble.err = 0;
			delay = FIRST_DELAY_MS;
			notify(w);
		}
		else
		{
			report_failure(w);
			notify(w);
			pause_for(w, delay);
			delay = Min(delay * 2, MAX_DELAY_MS);
		}
	}
	pthread_mutex_unlock(&w->mutex);
	sweep(w, is_own);
	cdc_closing_end(&w->closing);
	return NULL;
}

int
cdc_file_thread_start(pthread_t *thread, void *(*main) (void *), void *arg)
{
	pthread_attr_t attr;
	sigset_t	all;
	sigset_t	old;
	int			rc;

	rc = pthread_attr_init(&attr);
	if (rc != 0)
		return rc;
	pthread_attr_setstacksize(&attr, THREAD_STACK);
	sigfillset(&all);
	rc = pthread_sigmask(SIG_SETMASK, &all, &old);
	if (rc == 0)
	{
		rc = pthread_create(thread, &attr, main, arg);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	pthread_attr_destroy(&attr);
	return rc;
}

/* The object of a last part will not be put any more. */
static void
drop_complete(CdcFileWriter *w, CdcObjPart *part)
{
	if (part->last)
		dlist_push_tail(&w->dropped, &part->object->node);
}

/* Frees what the thread no longer uses. */
static void
writer_free(CdcFileWriter *w)
{
	if (w->current != NULL)
		drop_complete(w, w->current);
	while (!dlist_is_empty(&w->queue))
		drop_complete(w, dlist_container(CdcObjPart, node,
										 dlist_pop_head_node(&w->queue)));
	while (!dlist_is_empty(&w->done))
		drop_complete(w, dlist_container(CdcObjPart, node,
										 dlist_pop_head_node(&w->done)));
	while (!dlist_is_empty(&w->dropped))
		cdc_object_free(dlist_container(CdcObject, node,
										dlist_pop_head_node(&w->dropped)));
	close(w->event_fd);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->mutex);
	free(w);
}

CdcFileWriter *
cdc_file_writer_start(const char *dir, int64 job_id, uint64 session,
					  int *event_fd)
{
	CdcFileWriter *w = calloc(1, sizeof(CdcFileWriter));
	pthread_condattr_t attr;

	if (w == NULL)
		return NULL;
	w->job_id = job_id;
	w->session = session;
	w->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (w->event_fd < 0)
	{
		free(w);
		return NULL;
	}
	strlcpy(w->dir, dir, sizeof(w->dir));
	snprintf(w->tmp_job, sizeof(w->tmp_job),
			 CDC_FILE_TMP_PREFIX INT64_FORMAT "-", job_id);
	snprintf(w->tmp_session, sizeof(w->tmp_session),
			 CDC_FILE_TMP_PREFIX INT64_FORMAT "-%08x%08x-", job_id,
			 (uint32) (session >> 32), (uint32) session);
	dlist_init(&w->queue);
	dlist_init(&w->done);
	dlist_init(&w->dropped);
	pthread_mutex_init(&w->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &attr);
	pthread_condattr_destroy(&attr);
	if (cdc_file_thread_start(&w->thread, writer_main, w) != 0)
	{
		writer_free(w);
		return NULL;
	}
	*event_fd = w->event_fd;
	return w;
}

void
cdc_file_writer_put(CdcFileWriter *w, CdcObjPart *part)
{
	pthread_mutex_lock(&w->mutex);
	dlist_push_tail(&w->queue, &part->node);
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->mutex);
}

void
cdc_file_writer_drop(CdcFileWriter *w, CdcObject *object)
{
	dlist_push_tail(&w->dropped, &object->node);
}

/* Makes event_fd unreadable.  Mutex held. */
static void
clear_news(CdcFileWriter *w)
{
	uint64		count;

	w->news = false;
	while (read(w->event_fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
}

bool
cdc_file_writer_collect(CdcFileWriter *w, dlist_head *done,
						CdcFileTrouble *trouble)
{
	bool		news;

	pthread_mutex_lock(&w->mutex);
	news = w->news;
	if (news)
	{
		clear_news(w);
		while (!dlist_is_empty(&w->done))
			dlist_push_tail(done, dlist_pop_head_node(&w->done));
		*trouble = w->trouble;
	}
	pthread_mutex_unlock(&w->mutex);
	return news;
}

/* The thread has ended or is about to: it touches nothing any more. */
static void
writer_reap(CdcClosing *closing)
{
	CdcFileWriter *w = (CdcFileWriter *) closing;

	pthread_join(w->thread, NULL);
	writer_free(w);
}

void
cdc_file_writer_close(CdcFileWriter *w)
{
	pthread_mutex_lock(&w->mutex);
	w->stop = true;
	clear_news(w);				/* nobody reads it any more; somebody may still
								 * poll it until it is closed */
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->mutex);
	cdc_closing_begin(&w->closing, w->job_id, writer_reap);
}
